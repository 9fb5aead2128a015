"""JSON text to values: the one place that knows what goes wrong in it.

msgspec reports broken text, a wrong form, bytes that are no UTF-8 and deep nesting by exceptions of
four kinds; here they become one, with the place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

T = TypeVar("T")

Buffer = bytes | memoryview | msgspec.Raw
"""Bytes that may lie in a mapped file or in another text."""

FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on JSON that it cannot decode; ``explain`` says what it means."""

BOM = b"\xef\xbb\xbf"
"""A UTF-8 byte order mark, which some editors put in front; callers take it off."""

Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer that an array of int64 can hold."""

Reason = Literal["form", "syntax", "end", "encoding", "depth"]


class JsonError(ValueError):
    """JSON that cannot be decoded; its text says why.

    Attributes:
        reason: the form is not what was asked for; the syntax is broken; the text ends too early;
            it is not UTF-8; it is nested too deeply.
        byte: where the text breaks, from 0; None where that is not known.
        place: the JSON path of what has a wrong form, without ``$``.
    """

    def __init__(self, what: str, reason: Reason, byte: int | None = None, place: str = "") -> None:
        super().__init__(what)
        self.reason = reason
        self.byte = byte
        self.place = place


Wrong = Callable[[int, bytes, JsonError], None]
"""Called with the position, text and error of an item of a list that is of another form."""


def decode(data: Buffer, kind: type[T], *, lax: bool = False) -> T:
    """Decode JSON as ``kind``.

    Args:
        data: the text, without a byte order mark.
        kind: what msgspec is to make of it.
        lax: 1.0 and "1" are integers, too, "0.5" is a number.

    Raises:
        JsonError: it cannot be.
    """
    try:
        return msgspec.json.decode(data, type=kind, strict=not lax)
    except FAULTS as error:
        raise explain(error, bytes(data)) from error


def decode_items(
    raws: Sequence[msgspec.Raw], kind: type[T], wrong: Wrong, start: int = 0, *, lax: bool = False
) -> list[tuple[int, T]]:
    """Decode the items of a JSON list, all at once if they are sound.

    Args:
        raws: the items.
        kind: what msgspec is to make of each.
        wrong: called with each item that is of another form; if it returns, the item is left out.
        start: position of the first of them in the list.
        lax: see ``decode``.

    Returns:
        (position, item) of the sound ones.
    """
    try:
        joined = b"[" + b",".join(raws) + b"]"
        return list(enumerate(decode(joined, list[kind], lax=lax), start))  # type: ignore[valid-type]
    except JsonError:
        return list(_decode_each(raws, kind, wrong, start, lax))


def _decode_each(
    raws: Sequence[msgspec.Raw], kind: type[T], wrong: Wrong, start: int, lax: bool
) -> Iterator[tuple[int, T]]:
    for position, raw in enumerate(raws, start):
        try:
            yield position, decode(raw, kind, lax=lax)
        except JsonError as error:
            wrong(position, bytes(raw), error)


def explain(error: Exception, data: bytes) -> JsonError:
    """Say what one of ``FAULTS`` means that msgspec raised on ``data``."""
    message = str(error)
    if isinstance(error, RecursionError):
        return JsonError("is nested too deeply", "depth")
    if isinstance(error, msgspec.ValidationError):
        what, place = _split(message)
        return JsonError(what, "form", place=place)
    try:
        data.decode()
    except UnicodeDecodeError as found:
        return JsonError("is not UTF-8 text", "encoding", found.start)
    if "truncated" in message:
        return JsonError("it ends too early", "end", len(data))
    match = re.search(r"byte (\d+)", message)
    what = message.removeprefix("JSON is malformed: ").split(" (byte")[0]
    return JsonError(what, "syntax", int(match[1]) if match else None)


def _split(message: str) -> tuple[str, str]:
    """Split msgspec's message into what is wrong and the JSON path (without ``$``)."""
    what, _, place = message.partition(" - at `$")
    place = place.rstrip("`").removeprefix(".").replace("[...]", "[]")
    return what.replace("`", "'"), place
