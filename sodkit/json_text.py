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


_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object {...}",
}
"""What msgspec calls kinds of values, and what people do."""

_SYNTAX = {
    "invalid character": "a character that cannot stand here",
    "object keys must be strings": "a key that is not in double quotes",
    "trailing comma in object": "a comma without anything after it",
    "trailing comma in array": "a comma without anything after it",
    "trailing characters": "text after the end of the JSON, as in JSON lines",
    "invalid number": "a number as JSON does not write it",
}
"""What msgspec calls mistakes in the text, and what they are."""

_ZIP = b"PK\x03\x04"

_STARTS = {
    b"\x1f\x8b": "is packed by gzip, not UTF-8 text: unpack it",
    _ZIP: "is a zip archive, not UTF-8 text: unpack it",
    b"\xff\xfe": "is UTF-16 text: save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text: save it as UTF-8",
    b"\x89PNG": "is an image, not UTF-8 text",
    b"\xff\xd8": "is an image, not UTF-8 text",
}
"""What begins with these bytes."""

_SHOWN = 60
"""Characters of a wrong value that a message shows."""

_UNKNOWN = object()


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
        what, place = _in_words(message, data)
        return JsonError(what, "form", place=place)
    try:
        data.decode()
    except UnicodeDecodeError as found:
        return JsonError(encoding_fault(data), "encoding", found.start)
    if data.startswith(_ZIP):
        return JsonError(encoding_fault(data), "encoding", 0)
    if "truncated" in message:
        return JsonError("it ends too early", "end", len(data))
    match = re.search(r"byte (\d+)", message)
    what = message.removeprefix("JSON is malformed: ").split(" (byte")[0]
    what = "a backslash that JSON does not have here" if "escape" in what else what
    return JsonError(_SYNTAX.get(what, what), "syntax", int(match[1]) if match else None)


def encoding_fault(data: bytes) -> str:
    """Say what bytes are that are no UTF-8 text."""
    known = (what for start, what in _STARTS.items() if data.startswith(start))
    return next(known, "is not UTF-8 text: save it as UTF-8")


def shown(value: object) -> str:
    """Return a value of JSON for a message: what it is and its start."""
    if isinstance(value, str):
        return f"the text {_short(repr(value))}"
    kind = "an object " if isinstance(value, dict) else ""
    try:
        return kind + _short(msgspec.json.encode(value).decode())
    except (msgspec.MsgspecError, UnicodeError, ValueError, OverflowError):
        return f"{kind}that cannot be shown"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _in_words(message: str, data: bytes) -> tuple[str, str]:
    """Return what is wrong in plain words, and the JSON path (without ``$``).

    msgspec says ``Expected `int | null`, got `str` - at `$.image_id` ``.
    """
    what, _, path = message.partition(" - at `$")
    place = path.rstrip("`").removeprefix(".").replace("[...]", "[]")
    missing = re.fullmatch(r"Object missing required field `(.*)`", what)
    if missing:
        return f"the field {missing[1]!r} is missing", place
    found = _value_at(data, place)
    end = "" if found is _UNKNOWN else f", found {shown(found)}"
    if what.endswith("out of range"):
        return f"the number is too large{end}", place
    wanted = re.fullmatch(r"Expected `(.*?)`(.*)", what)
    if wanted is None:
        return what.replace("`", "'"), place
    kinds = wanted[1].split(" | ")
    limit = re.sub(r" ([<>])= (\S+)", _bound, wanted[2].partition(", got")[0])
    limit = re.sub(r"length (\d+)", r"\1 values", limit)
    return f"expected {' or '.join(_names_of(kinds))}{limit}{end}", place


def _bound(match: re.Match[str]) -> str:
    return f" of {match[2]} or {'more' if match[1] == '>' else 'less'}"


def _names_of(kinds: Sequence[str]) -> list[str]:
    """Return plain words for msgspec's kinds; null stands for a field that is left out."""
    names = [_KINDS.get(kind, kind) for kind in kinds if kind != "null"]
    return [name for name in names if name != _KINDS["int"] or _KINDS["float"] not in names]


def _value_at(data: bytes, place: str) -> object:
    """Return the value at a JSON path, ``_UNKNOWN`` if the path does not say which it is."""
    try:
        value = msgspec.json.decode(data)
        for key, index in re.findall(r"([^.\[\]]+)|\[(\d*)\]", place):
            value = value[int(index)] if isinstance(value, list) else value[key]
    except (*FAULTS, LookupError, ValueError, TypeError):
        return _UNKNOWN
    return value
