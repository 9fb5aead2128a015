from dataclasses import replace

import numpy as np
import pytest
import shapely

from sodkit.data.records import REGION, Annotations, Category, Detections, ImageRecord, Polygons
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import SODA_D
from sodkit.evaluation.regions import absorbed
from sodkit.evaluation.tables import detection_table
from sodkit.geometry.rotated import corners_to_obb, obb_to_corners, obb_to_xywh


def with_region(xywh: list[float]) -> Annotations:
    """One object of 10 x 10 at the origin, and a region."""
    boxes = np.array([[0.0, 0, 10, 10], xywh])
    return Annotations(
        images=(ImageRecord(1, "a.jpg", 200, 200), ImageRecord(2, "b.jpg", 200, 200)),
        categories=(Category(1, "a"), Category(2, "b")),
        ids=np.array([1, 2]),
        image_index=np.array([0, 0]),
        labels=np.array([0, REGION]),
        xywh=boxes,
        area=boxes[:, 2] * boxes[:, 3],
        ignore=np.array([False, True]),
    )


def found(boxes: list[list[float]], scores: list[float], image: int = 1) -> Detections:
    count = len(boxes)
    return Detections(
        np.full(count, image), np.zeros(count, np.int64), np.array(scores), np.array(boxes)
    )


def test_absorbs_unmatched_detections_inside() -> None:
    annotations = with_region([50, 50, 100, 100])
    detections = found([[60.0, 60, 10, 10], [0, 0, 10, 10]], [0.9, 0.8])
    dropped = evaluate(annotations, detections, SODA_D)
    kept = evaluate(annotations, detections, SODA_D, ignore_regions="absorb")
    assert dropped.metrics["AP"] == pytest.approx(0.5)
    assert kept.metrics["AP"] == pytest.approx(1)
    assert dropped.counts.absorbed == 0
    assert kept.counts.absorbed == 1
    elsewhere = replace(detections, image_ids=np.array([2, 1]))
    assert evaluate(
        annotations, elsewhere, SODA_D, ignore_regions="absorb"
    ).metrics["AP"] == pytest.approx(0.5)  # fmt: skip


def test_a_match_inside_a_region_is_right() -> None:
    annotations = with_region([-50, -50, 200, 200])
    result = evaluate(
        annotations, found([[0.0, 0, 10, 10]], [0.9]), SODA_D, ignore_regions="absorb"
    )
    assert result.counts.absorbed == 1
    assert result.metrics["AP"] == pytest.approx(1)


def test_exactly_half_is_not_inside() -> None:
    annotations = with_region([50, 50, 10, 10])
    detections = found([[45.0, 50, 10, 10], [45.1, 50, 10, 10], [50, 50, 0, 0]], [0.3, 0.2, 0.1])
    table = detection_table(annotations, detections, detections.labels, 2, 100)
    assert absorbed(annotations, table)[table.rows.argsort()].tolist() == [False, True, False]


def test_polygons_of_any_shape_equal_shapely() -> None:
    rng = np.random.default_rng(0)
    star = np.array([
        [(20 + 30 * (k % 2)) * np.cos(k * np.pi / 6), (20 + 30 * (k % 2)) * np.sin(k * np.pi / 6)]
        for k in range(12)
    ]) + 100  # fmt: skip
    annotations = with_region([0, 0, 1, 1])
    square = obb_to_corners(np.array([[5.0, 5, 10, 10, 0]]))[0]
    annotations = replace(
        annotations,
        obb=np.concatenate([corners_to_obb(square[None]), corners_to_obb(star[None])]),
        polygons=Polygons(np.concatenate([square, star]), np.array([0, 4, 16])),
    )
    obb = np.column_stack([
        rng.uniform(40, 160, (500, 2)), rng.uniform(10, 30, 500), rng.uniform(3, 10, 500),
        rng.uniform(-1.5, 1.5, 500),
    ])  # fmt: skip
    detections = Detections(
        np.ones(500, np.int64), rng.integers(0, 2, 500), rng.random(500), obb_to_xywh(obb), obb
    )
    table = detection_table(annotations, detections, detections.labels, 2, 1000)
    inside = np.zeros(500, np.bool_)
    inside[table.rows] = absorbed(annotations, table)
    area = shapely.area(
        shapely.intersection(shapely.polygons(obb_to_corners(obb)), shapely.polygons(star))
    )
    np.testing.assert_array_equal(inside, area > obb[:, 2] * obb[:, 3] / 2)
    assert 50 < inside.sum() < 450


@pytest.mark.parametrize("first", range(4))
def test_every_corner_of_a_region_belongs_to_it(first: int) -> None:
    """Detections near one corner, whichever corner the annotation starts with; tiny ones, too."""
    annotations = with_region([50, 50, 100, 100])
    corners = np.array([[50.0, 50], [150, 50], [150, 150], [50, 150]])
    square = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])
    annotations = replace(
        annotations,
        polygons=Polygons(
            np.concatenate([square, np.roll(corners, first, axis=0)]), np.array([0, 4, 8])
        ),
        obb=corners_to_obb(np.stack([square, corners])),
    )
    boxes = [[50 + x, 50 + y, 4, 4] for x in (0, 96) for y in (0, 96)]
    boxes += [[100, 100, 0.5, 0.5], [49, 48, 2, 2], [151, 100, 8, 8], [100, 150.5, 3, 3]]
    turned = np.array([[x + w / 2, y + h / 2, w, h, 0.0] for x, y, w, h in boxes])
    detections = replace(found(boxes, [0.5] * len(boxes)), obb=turned, xywh=obb_to_xywh(turned))
    table = detection_table(annotations, detections, detections.labels, 2, 100)
    inside = absorbed(annotations, table)
    assert inside[np.argsort(table.rows)].tolist() == [True] * 5 + [False] * 3


@pytest.mark.parametrize("first", range(4))
@pytest.mark.parametrize("swap", [False, True], ids=["wide", "tall"])
@pytest.mark.parametrize("mirror", [False, True], ids=["plain", "mirrored"])
def test_each_tip_of_a_region_counts(first: int, swap: bool, mirror: bool) -> None:
    """A rhombus: each of its tips alone reaches that far. The rings start at each of them."""
    annotations = with_region([0, 0, 1, 1])
    tips = np.array([[10.0, 160], [90, 140], [170, 160], [90, 180]])
    boxes = np.array([[15.0, 158, 6, 4], [155, 158, 6, 4], [88, 143, 4, 4], [88, 173, 4, 4]])
    if swap:
        tips, boxes = tips[:, ::-1], boxes[:, [1, 0, 3, 2]]
    if mirror:
        tips, boxes = 200 - tips, np.column_stack([200 - boxes[:, :2] - boxes[:, 2:], boxes[:, 2:]])
    square = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])
    ring = np.roll(tips, first, axis=0)
    annotations = replace(
        annotations,
        polygons=Polygons(np.concatenate([square, ring]), np.array([0, 4, 8])),
        obb=corners_to_obb(np.stack([square, ring])),
    )
    turned = np.column_stack([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:], np.zeros(4)])
    detections = replace(found(boxes.tolist(), [0.5] * 4), obb=turned, xywh=obb_to_xywh(turned))
    table = detection_table(annotations, detections, detections.labels, 2, 100)
    assert absorbed(annotations, table).all()
