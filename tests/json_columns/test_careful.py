"""The careful reader: records of another form are reported, absent fields stay visible."""

import json

import numpy as np
import pytest

from sodkit import json_columns
from sodkit.json_columns import FLAG, INTEGER, NUMBERS, Field, read_columns
from sodkit.json_text import JsonError

FIELDS = {
    "id": Field(INTEGER, required=True),
    "flag": Field(FLAG),
    "box": Field(NUMBERS, 2),
    "poly": Field(NUMBERS, 4, any_length=True),
    "never": Field(NUMBERS),
}
ROWS = [
    {"id": 3, "box": [1, 2.5], "poly": [1, 2, 3, 4]},
    {"id": "four"},
    {"id": 5, "flag": True, "box": None, "other": [{}]},
    {"flag": 0},
    {"id": -6, "flag": 2, "poly": [7]},
]


def test_wrong_records_are_reported_and_left_out() -> None:
    reported: list[tuple[int, bytes, str]] = []
    found = read_columns(
        json.dumps(ROWS).encode(),
        FIELDS,
        lambda position, text, error: reported.append((position, text, error.reason)),
    )
    assert reported == [(1, b'{"id": "four"}', "form"), (3, b'{"flag": 0}', "form")]
    assert found.positions.tolist() == [0, 2, 4]
    assert found.integers["id"].tolist() == [3, 5, -6]
    assert found.integers["flag"].tolist() == [0, 1, 1]
    assert found.present["flag"].tolist() == [False, True, True]
    np.testing.assert_array_equal(found.numbers["box"], [[1, 2.5], [np.nan] * 2, [np.nan] * 2])
    assert found.numbers["poly"].tolist() == [1, 2, 3, 4, 7]
    assert found.offsets["poly"].tolist() == [0, 4, 4, 5]
    assert "never" not in found.present


def refuse(position: int, text: bytes, error: JsonError) -> None:
    raise error


@pytest.mark.parametrize("large", [0, 10**9])
@pytest.mark.parametrize("is_json", [False, True])
def test_an_empty_list_has_the_required_fields(
    large: int, is_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_columns, "LARGE", large)
    found = read_columns(b" []", FIELDS, refuse, is_json=is_json)
    assert len(found) == 0
    assert found.integers["id"].tolist() == []
    assert found.present.keys() == {"id"}


@pytest.mark.parametrize(
    ("text", "reason"), [(b"{}", "form"), (b"[1", "end"), (b"[x]", "syntax"), (b"", "end")]
)
def test_what_is_no_list_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(JsonError) as caught:
        read_columns(text, FIELDS, refuse)
    assert caught.value.reason == reason


@pytest.mark.parametrize("second", ['{"id": null}', '{"flag": 1}'])
def test_a_required_field_is_required_by_both_readers(
    second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_columns, "LARGE", 0)
    text = f'[{{"id": 1}}, {second}]'
    with pytest.raises(JsonError):
        read_columns(text.encode(), FIELDS, refuse)
