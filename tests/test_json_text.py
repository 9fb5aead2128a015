"""The one decoder of JSON: every fault is of one kind, and says where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import pytest

from sodkit.data.formats.source import decode_json, decode_list
from sodkit.errors import DataError
from sodkit.json_text import JsonError, decode


class Item(msgspec.Struct):
    name: str


@pytest.mark.parametrize(
    ("data", "reason", "byte", "place"),
    [
        (b"", "end", 0, ""),
        (b'[{"name": "a"}', "end", 14, ""),
        (b'[{"name": "a"} x]', "syntax", 15, ""),
        (b'[{"name": 5}]', "form", None, "[0].name"),
        (b'[\n{"name": "\xff"}]', "encoding", 12, ""),
        ('[{"name": "a"}]'.encode("utf-16"), "encoding", 0, ""),
        (b'[{"name": "a", "x": ' + b"[" * 99_999, "depth", None, ""),
        (b"9" * 5000, "form", None, ""),
    ],
)
def test_faults(data: bytes, reason: str, byte: int | None, place: str) -> None:
    with pytest.raises(JsonError) as caught:
        decode(data, list[Item])
    assert (caught.value.reason, caught.value.byte, caught.value.place) == (reason, byte, place)


@pytest.mark.parametrize("deep", [b"[" * 99_999, b"[" * 950 + b"NaN" + b"]" * 950])
def test_deep_nesting_is_no_traceback(deep: bytes) -> None:
    """Neither in the text, nor in the search for a NaN in it."""
    with pytest.raises(DataError) as caught:
        decode_json(b'[{"name": "a", "x": ' + deep + b"}]", list[Item], Path("a.json"))
    assert str(caught.value.where).startswith("a.json")


def test_a_byte_that_is_no_utf8_is_placed_by_its_line() -> None:
    with pytest.raises(DataError, match="UTF-8") as caught:
        decode_json(b'[\n{"name": "a"},\n{"name": "\xff"}]', list[Item], Path("a.json"))
    assert caught.value.where == "a.json:3"


def test_only_the_items_that_are_wrong_are_left_out() -> None:
    raws = [b'{"name": "a"}', b'{"name": "\xff"}', b'{"name": 5, "id": 7}', b'{"name": "b"}']
    reported: list[str] = []
    found = decode_list(
        [msgspec.Raw(raw) for raw in raws],
        Item,
        Path("a.json"),
        "items",
        lambda error, kind: reported.append(str(error)),
    )
    assert found == [(0, Item("a")), (3, Item("b"))]
    assert reported[0] == "a.json: items[1]: is not UTF-8 text: save it as UTF-8"
    assert reported[1].startswith("a.json: items[2].name (id 7): expected a text, found 5")


class Record(msgspec.Struct):
    side: Annotated[int, msgspec.Meta(ge=1, le=9)] | None = None
    box: tuple[float, float] | None = None
    flag: bool | int | None = None
    ref: int | float | str | None = None
    name: str | None = None


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ('{"side": "x"}', "side", "expected a whole number, found the text 'x'"),
        ('{"side": 0}', "side", "expected a whole number of 1 or more, found 0"),
        ('{"side": 10}', "side", "expected a whole number of 9 or less, found 10"),
        ('{"box": [1]}', "box", "expected a list of 2 values, found [1]"),
        ('{"box": [1, null]}', "box[1]", "expected a number, found null"),
        ('{"box": [1, 1e999]}', "box[1]", "the number is too large"),
        ('{"flag": 1.5}', "flag", "expected true or false or a whole number, found 1.5"),
        ('{"side": {"a": 1}}', "side", 'expected a whole number, found an object {"a":1}'),
        ('{"ref": []}', "ref", "expected a number or a text, found []"),
        ('{"name": [' + "1," * 99 + "1]}", "name", f"expected a text, found [{'1,' * 29}1..."),
        ("[]", "", "expected an object {...}, found []"),
    ],
)  # fmt: skip
def test_a_wrong_form_is_said_in_plain_words(text: str, place: str, what: str) -> None:
    with pytest.raises(JsonError) as caught:
        decode(text.encode(), Record)
    assert (caught.value.place, str(caught.value)) == (place, what)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x1f\x8b\x08", "is packed by gzip"),
        (b"PK\x03\x04x", "is a zip archive"),
        ("{}".encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (b'{"name": "a"}\n{}', "text after the end of the JSON, as in JSON lines, column 2"),
        (b"{'a': 1}", "a key that is not in double quotes"),
        (b'{"a": 1,}', "a comma without anything after it"),
        (b'{"a": 1 "b"}', "expected ',' or '}', column 9, in"),
    ],
)
def test_text_that_is_no_json(data: bytes, what: str) -> None:
    with pytest.raises(DataError) as caught:
        decode_json(data, Item, Path("a.json"))
    assert what in caught.value.what
