"""JSON text to values: the one place that knows what goes wrong in it.

msgspec reports broken text, a wrong form, bytes that are no UTF-8 and deep nesting by exceptions of
four kinds; here they become one, with the place.
"""

from __future__ import annotations

import re
from typing import Literal, TypeVar

import msgspec

T = TypeVar("T")

FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on JSON that it cannot decode; ``explain`` says what it means."""

BOM = b"\xef\xbb\xbf"
"""A UTF-8 byte order mark, which some editors put in front; callers take it off."""

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


def decode(data: bytes, kind: type[T]) -> T:
    """Decode JSON as ``kind``.

    Args:
        data: the text, without a byte order mark.
        kind: what msgspec is to make of it.

    Raises:
        JsonError: it cannot be.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except FAULTS as error:
        raise explain(error, data) from error


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
