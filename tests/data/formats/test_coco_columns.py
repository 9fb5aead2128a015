"""The two readers of annotations give the same."""

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sodkit.data.formats import coco_columns
from sodkit.data.formats.coco_columns import Columns, read_columns
from sodkit.data.formats.source import stop

Change = dict[str, Any]


def rows(count: int, **changes: Any) -> list[Change]:
    rng = random.Random(count)
    out = []
    for i in range(count):
        row: Change = {
            "id": i * 3,
            "image_id": i // 2,
            "category_id": rng.randint(1, 9),
            "bbox": [round(rng.uniform(0, 4000), 2) for _ in range(4)],
            "area": rng.random() * 1000,
            "ignore": rng.randint(0, 1),
            "iscrowd": rng.random() < 0.5,
            "segmentation": [[1, 2, 3.5]],
        }
        for key, value in changes.items():
            row[key] = value(i) if callable(value) else value
            if row[key] is ...:
                del row[key]
        out.append(row)
    return out


def both(items: list[Change]) -> tuple[Columns | None, Columns]:
    raw = msgspec.Raw(json.dumps(items).encode())
    careful = read_columns(raw, Path("x.json"), stop)
    return coco_columns._scan(raw), careful


def same(a: Columns, b: Columns) -> None:
    for name in ("positions", "ids", "image_ids", "category_ids", "xywh", "area", "flags"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert (a.obb is None) == (b.obb is None)
    if a.obb is not None and b.obb is not None:
        np.testing.assert_array_equal(a.obb, b.obb)
    assert (a.polygons is None) == (b.polygons is None)
    if a.polygons is not None and b.polygons is not None:
        np.testing.assert_array_equal(a.polygons.points, b.polygons.points)
        np.testing.assert_array_equal(a.polygons.offsets, b.polygons.offsets)


def obb(i: int) -> list[float]:
    return [100.5 + i, 90.25, 30.0, 10.0 + i, 0.01 * i]


def poly(i: int) -> list[float]:
    return [i + 0.5, 1, i + 9, 2, i + 8, 12, i, 11]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"id": ..., "area": ..., "ignore": ..., "iscrowd": ...},
        {"area": lambda i: None if i % 3 else 5.5, "id": lambda i: ... if i % 2 else i},
        {"bbox": None, "obb": obb},
        {"poly": poly, "obb": obb},
        {"poly": poly},
        {"bbox": lambda i: ... if i % 2 else [1, 2, 3, 4], "poly": poly},
        {"ignore": lambda i: [0, 1, True, False, None][i % 5]},
    ],
)
def test_scanner_and_careful_reader_agree(
    changes: Change,
) -> None:
    scanned, careful = both(rows(40, **changes))
    assert scanned is not None
    same(scanned, careful)


@pytest.mark.parametrize(
    "changes",
    [
        {"poly": lambda i: poly(i) if i else [*poly(i), 3, 4]},
        {"obb": lambda i: obb(i) if i % 2 else ...},
        {"poly": lambda i: poly(i) if i % 2 else None, "obb": obb},
        {"extra": lambda i: {"a": 1}},
        {"late": lambda i: i if i else ...},
    ],
)
def test_unusual_lists_are_left_to_the_careful_reader(
    changes: Change,
) -> None:
    scanned, _ = both(rows(40, **changes))
    assert scanned is None


def test_a_long_list_is_scanned_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    items = rows(60, obb=obb)
    raw = msgspec.Raw(json.dumps(items).encode())
    careful = read_columns(raw, Path("x.json"), stop)
    monkeypatch.setattr(coco_columns, "_LARGE", 1)
    monkeypatch.setattr(coco_columns, "decode_json", None)  # would be called by the careful one
    same(read_columns(raw, Path("x.json"), stop), careful)
