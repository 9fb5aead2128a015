from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sodkit.data.records import (
    REGION,
    Annotations,
    Category,
    Detections,
    ImageRecord,
    Polygons,
    as_boxes,
)


def oriented() -> Annotations:
    """Three annotations on two images; the last is a region with five corners."""
    points = np.arange(26, dtype=np.float64).reshape(13, 2)
    return Annotations(
        images=(ImageRecord(7, "a.jpg", 100, 80), ImageRecord(3, "b.jpg", 100, 80)),
        categories=(Category(4, "ship"), Category(9, "plane")),
        ids=np.array([10, 11, 12]),
        image_index=np.array([1, 0, 1]),
        labels=np.array([0, 1, REGION]),
        xywh=np.array([[0, 0, 10, 5], [1, 1, 4, 4], [2, 2, 8, 8]], np.float64),
        area=np.array([50.0, 16.0, 64.0]),
        ignore=np.array([False, False, True]),
        obb=np.arange(15, dtype=np.float64).reshape(3, 5),
        polygons=Polygons(points, np.array([0, 4, 8, 13])),
    )


def test_take_selects_every_column() -> None:
    every = oriented()
    some = every.take(np.array([2, 0]))
    assert some.ids.tolist() == [12, 10]
    assert some.labels.tolist() == [REGION, 0]
    assert some.xyxy.tolist() == [[2, 2, 10, 10], [0, 0, 10, 5]]
    assert some.obb is not None
    assert some.obb[0, 0] == 10
    assert some.polygons is not None
    assert every.polygons is not None
    assert len(some.polygons[0]) == 5
    assert np.array_equal(some.polygons[0], every.polygons[2])
    assert np.array_equal(some.polygons[1], every.polygons[0])
    assert some.kind == "oriented"


def test_take_by_mask_and_nothing() -> None:
    assert oriented().take(oriented().is_region).ids.tolist() == [12]
    none = oriented().take(np.zeros(3, np.bool_))
    assert len(none) == 0
    assert none.polygons is not None
    assert len(none.polygons) == 0


def test_rows_by_image_keep_the_order() -> None:
    assert [rows.tolist() for rows in oriented().rows_by_image()] == [[1], [0, 2]]
    assert [len(r) for r in oriented().take(np.array([], np.int64)).rows_by_image()] == [0, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.zeros(2, np.int64)},
        {"xywh": np.zeros((3, 5))},
        {"obb": np.zeros((3, 4))},
        {"polygons": Polygons(np.zeros((0, 2)), np.array([0]))},
    ],
)
def test_columns_must_fit(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"shape|polygons"):
        replace(oriented(), **change)  # type: ignore[arg-type]


def detections(count: int, *, with_obb: bool) -> Detections:
    return Detections(
        image_ids=np.arange(count),
        labels=np.zeros(count, np.int64),
        scores=np.linspace(0, 1, count),
        xywh=np.ones((count, 4)),
        obb=np.ones((count, 5)) if with_obb else None,
    )


def test_detections_join_and_select() -> None:
    joined = Detections.concatenate([detections(2, with_obb=True), detections(3, with_obb=True)])
    assert joined.image_ids.tolist() == [0, 1, 0, 1, 2]
    assert joined.obb is not None
    assert joined.take(joined.scores > 0.5).obb is not None
    assert len(Detections.concatenate([], "oriented")) == 0
    assert Detections.concatenate([], "oriented").kind == "oriented"


def test_kinds_do_not_mix() -> None:
    with pytest.raises(ValueError, match="cannot be joined"):
        Detections.concatenate([detections(1, with_obb=True), detections(1, with_obb=False)])


def test_as_boxes_of_one_kind() -> None:
    rows = oriented()
    assert as_boxes(rows, None) is rows
    upright = as_boxes(rows, "horizontal")
    assert upright.kind == "horizontal"
    assert np.array_equal(upright.area, rows.area)
    turned = as_boxes(upright, "oriented").obb
    assert turned is not None
    assert turned[0].tolist() == [5, 2.5, 10, 5, 0]
    assert as_boxes(rows, "oriented") is rows
