import json
import random
import struct
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodkit.json_columns import FLAG, INTEGER, NUMBERS, Field, JsonColumns
from sodkit.json_columns.careful import read_carefully
from sodkit.json_columns.scan import scan
from sodkit.json_text import JsonError

RECORD = '{"image_id": 1, "category_id": 2, "score": 0.5, "bbox": [1.5, -2, 3e1, 4.25]}'


FIELDS = {
    "image_id": Field(INTEGER),
    "category_id": Field(INTEGER),
    "score": Field(NUMBERS),
    "bbox": Field(NUMBERS, 4),
    "obb": Field(NUMBERS, 5),
    "poly": Field(NUMBERS, 8),
}


def scanned(text: str, *, is_json: bool = False) -> JsonColumns | None:
    return scan(np.frombuffer(text.encode(), np.uint8), FIELDS, is_json=is_json)


def refuse(position: int, text: bytes, error: JsonError) -> None:
    raise error


def same(a: JsonColumns, b: JsonColumns) -> None:
    np.testing.assert_array_equal(a.positions, b.positions)
    for name in ("integers", "numbers", "offsets", "present"):
        one, other = getattr(a, name), getattr(b, name)
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def number(text: str) -> float | None:
    """Read one number through a whole file; None if the scanner gives up."""
    filler = ",".join([RECORD] * 2)
    found = scanned("[" + filler + "," + RECORD.replace("0.5", text) + "]")
    if found is None or np.isnan(found.numbers["score"][-1]):
        return None
    return float(found.numbers["score"][-1])


def assert_same_bits(text: str) -> bool:
    value = number(text)
    if value is not None:
        assert struct.pack("d", value) == struct.pack("d", float(text)), text
    return value is not None


@given(st.floats(0, 1e15))
def test_every_double_comes_back(value: float) -> None:
    read = assert_same_bits(repr(value))
    assert read or value < 1e-40


@given(st.floats(1e-5, 1))
def test_every_score_comes_back(value: float) -> None:
    assert assert_same_bits(repr(value))
    assert assert_same_bits(repr(float(np.float32(value))))


def test_numbers_that_are_hard_to_round() -> None:
    rng = random.Random(0)
    texts = []
    for _ in range(300):
        texts.append(f"{rng.getrandbits(rng.randint(1, 63))}e{rng.randint(-60, 35)}")
        odd = rng.randint(2**53, 2**54 - 1) | 1  # half way between two doubles
        texts += [str(odd << shift) for shift in range(0, 9, 4)]
        texts += [format(Decimal(odd) / Decimal(2**shift), "f") for shift in range(3)]
        texts.append(repr(float(np.float32(rng.random()))))
    read = [assert_same_bits(text) for text in texts]
    assert sum(read) > 0.95 * len(read)


@pytest.mark.parametrize(
    "text", ["-0.0", "0", "0e5", "1E5", "1e+05", "12.50", "123456789012345678"]
)
def test_ways_to_write_a_number(text: str) -> None:
    assert assert_same_bits(text)


@pytest.mark.parametrize(
    "text",
    [
        "01",
        "00",
        "1.",
        ".5",
        "-",
        "1e",
        "1e+",
        "+1",
        "NaN",
        "0x1",
        "",
        '"1"',
        "1 2",
        "1e400",
        "null",
    ],
)
def test_gives_up_on_what_is_no_plain_number(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("kind", ["bbox", "obb", "poly"])
def test_equals_the_careful_reader(count: int, indent: int | None, kind: str) -> None:
    rng = random.Random(count)
    width = {"bbox": 4, "obb": 5, "poly": 8}[kind]
    rows = []
    for i in range(count):
        box = [rng.choice([round(rng.uniform(-9, 4000), 2), rng.random()]) for _ in range(width)]
        row = {"image_id": i - 3, "category_id": i % 9, "score": rng.random(), kind: box}
        keys = list(row)
        rng.shuffle(keys)
        rows.append({key: row[key] for key in keys})
    text = json.dumps(rows, indent=indent)
    found, careful = scanned(text), read_carefully(text.encode(), FIELDS, refuse)
    assert found is not None
    assert found.present.keys() == {"image_id", "category_id", "score", kind}
    assert all(column.all() for column in found.present.values())
    same(found, careful)


def test_without_categories() -> None:
    record = RECORD.replace('"category_id": 2, ', "")
    found = scanned(f"[{record},{record}]")
    assert found is not None
    assert "category_id" not in found.integers
    assert scanned(f"[{record},{RECORD}]") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        RECORD,
        f"[{RECORD}",
        f"{RECORD}]",
        f"[{RECORD},]",
        f"[{RECORD}{RECORD}]",
        f"[{RECORD},,{RECORD}]",
        f"[{RECORD}]]",
        f"[[{RECORD}]]",
        f"[{RECORD} {{}}]",
        f"[{RECORD[:-1]},}}]",
        f'[{RECORD[:-1]}, "id": 3}}]',
        f'[{RECORD[:-1]}, "score": 0.5}}]',
        f"[{RECORD.replace('score', 'store')}]",
        f"[{RECORD.replace('0.5', '[0.5]')}]",
        f"[{RECORD.replace(', 4.25', '')}]",
        f"[{RECORD.replace('4.25', '4.25, 5')}]",
        f"[{RECORD.replace(': 1,', ': 1.0,')}]",
        f"[{RECORD.replace(': 1,', ': 1e0,')}]",
        f"[{RECORD.replace(': 1,', ': 1234567890123456789,')}]",
        '[{"x": "{"},' + ",".join([RECORD] * 3) + "]",
    ],
)
def test_gives_up_on_another_form(text: str) -> None:
    assert scanned(text) is None


@given(st.integers(0, 10**6))
def test_never_accepts_what_json_does_not(seed: int) -> None:
    """A few bytes of a good file are deleted, doubled or replaced."""
    rng = random.Random(seed)
    text = bytearray(("[" + ",\n".join([RECORD] * 4) + "]").encode())
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(text))
        change = rng.randrange(3)
        text[at : at + 1] = [b"", text[at : at + 1] * 2, rng.choice(b'{}[],:"0-.e1').to_bytes()][
            change
        ]
    found = scanned(text.decode())
    if found is None:
        return
    rows = json.loads(text)
    assert [row["score"] for row in rows] == found.numbers["score"].tolist()
    assert [row["bbox"] for row in rows] == found.numbers["bbox"].tolist()
    assert [row["image_id"] for row in rows] == found.integers["image_id"].tolist()


def test_null_is_absence() -> None:
    found = scanned(f"[{RECORD},{RECORD.replace('[1.5, -2, 3e1, 4.25]', 'null')},{RECORD}]")
    assert found is not None
    assert found.present["bbox"].tolist() == [True, False, True]
    assert scanned(f"[{RECORD},{RECORD.replace('0.5', 'nul')}]") is None


@pytest.mark.parametrize(
    ("text", "value"), [("true", 1), ("false", 0), ("0", 0), ("1", 1), ("-7", 1)]
)
def test_flags(text: str, value: int) -> None:
    rows = [f'{{"flag": {text}}}', f'{{"flag":{text} }}']
    data = np.frombuffer(("[" + ",".join(rows) + "]").encode(), np.uint8)
    found = scan(data, {"flag": Field(FLAG)}, is_json=False)
    assert found is not None
    assert found.integers["flag"].tolist() == [value, value]


@pytest.mark.parametrize("text", ["tru", "truth", "fals", "falsy", "1.0", "1.5", '"true"', "[]"])
def test_gives_up_on_what_is_no_flag(text: str) -> None:
    data = np.frombuffer(f'[{{"flag": {text}}}]'.encode(), np.uint8)
    assert scan(data, {"flag": Field(FLAG)}, is_json=False) is None


OTHER = [
    "[]",
    "[[1, 2, 3], [4, 5]]",
    '"a \\" , } ] text"',
    '{"deep": [{"er": "]}"}]}',
    "-1.5e3",
    "true",
    "null",
    '""',
]


@pytest.mark.parametrize("other", OTHER)
def test_skips_what_nobody_asks_for_in_valid_json(other: str) -> None:
    rows = [f'{{"x": {other}, {RECORD[1:]}', f'{RECORD[:-1]}, "x": {other} }}']
    text = "[" + " ,\n".join(rows * 3) + "]"
    assert scanned(text) is None
    found = scanned(text, is_json=True)
    if "{" in other:  # looks like more records: left to the careful reader
        assert found is None
        return
    assert found is not None
    assert found.integers["image_id"].tolist() == [1] * 6
    assert found.numbers["bbox"].tolist() == [[1.5, -2, 30, 4.25]] * 6


def test_a_field_that_only_later_records_have_is_not_skipped() -> None:
    later = RECORD[:-1] + ', "obb": [1, 2, 3, 4, 0]}'
    assert scanned(f"[{RECORD},{later}]", is_json=True) is None
    assert scanned(f"[{later},{RECORD}]", is_json=True) is not None
