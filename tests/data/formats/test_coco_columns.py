"""Annotations become the same columns by the compiled scanner and with care."""

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from sodkit import json_columns
from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.coco_columns import collect_annotations
from sodkit.data.formats.source import stop
from sodkit.json_columns import careful

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


def collect(items: list[Change], large: int, monkeypatch: pytest.MonkeyPatch) -> Collected:
    raw = msgspec.Raw(json.dumps(items).encode())
    monkeypatch.setattr(json_columns, "LARGE", large)
    return collect_annotations(raw, Path("x.json"), [], [], stop)


def same(a: Collected, b: Collected) -> None:
    for name in ("ids", "image_ids", "category_ids", "xywh", "area", "flags"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert [a.place(row) for row in range(len(a.ids))] == [b.place(i) for i in range(len(b.ids))]
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
        {"obb": lambda i: None if i % 2 else obb(i)},
        {"poly": lambda i: poly(i) if i % 2 else None, "obb": obb},
        {"poly": lambda i: None if i % 3 else poly(i)},
    ],
)
def test_a_long_list_is_scanned_and_gives_the_same(
    changes: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = rows(40, **changes)
    with_care = collect(items, 10**9, monkeypatch)
    monkeypatch.setattr(careful, "decode_items", None)  # would be called by the careful reader
    same(collect(items, 1, monkeypatch), with_care)


@pytest.mark.parametrize(
    "changes",
    [
        {"poly": lambda i: poly(i) if i else [*poly(i), 3, 4]},
        {"poly": lambda i: [[], [1, 2, 3], poly(i), None][i % 4], "obb": obb},
        {"obb": lambda i: obb(i) if i % 2 else ...},
        {"extra": lambda i: {"a": 1}},
        {"late": lambda i: i if i else ...},
    ],
)
def test_unusual_lists_are_read_with_care(changes: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    items = rows(40, **changes)
    found = collect(items, 1, monkeypatch)
    same(found, collect(items, 10**9, monkeypatch))
    if "poly" in changes or "obb" in changes:
        assert found.polygons is not None
        assert len(found.polygons) == len(items)
    monkeypatch.setattr(careful, "decode_items", None)
    with pytest.raises(TypeError):
        collect(items, 1, monkeypatch)


def test_corners_are_those_of_poly_else_of_obb_else_of_the_box(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box = {"bbox": [1, 2, 3, 4], "image_id": 1, "category_id": 1}
    triangle = [0, 0, 5, 0, 0, 5]
    items = [
        box,
        {**box, "obb": [10, 20, 4, 2, 0]},
        {**box, "obb": [10, 20, 4, 2, 0], "poly": triangle},
        {**box, "poly": [1, 2, 3]},
    ]
    found = collect(items, 10**9, monkeypatch)
    assert found.polygons is not None
    corners = [found.polygons[row].tolist() for row in range(4)]
    assert corners[0] == [[1, 2], [4, 2], [4, 6], [1, 6]]
    assert sorted(corners[1]) == [[8, 19], [8, 21], [12, 19], [12, 21]]
    assert corners[2] == [[0, 0], [5, 0], [0, 5]]
    assert corners[3] == [[0, 0]]
    assert found.obb is None
