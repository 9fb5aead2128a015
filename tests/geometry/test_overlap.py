from fractions import Fraction

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask

from sodkit.geometry.overlap import (
    box_intersection,
    cut_polygon,
    rotated_bound,
    rotated_iou,
    rotated_iou_pairs,
    turns,
)
from sodkit.geometry.rotated import obb_to_corners


def shapely_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Both moved near 0 first: shapely's own rounding at 12 000 px would drown the comparison."""
    offset = np.column_stack([a[:, :2], np.zeros((len(a), 3))])
    first = shapely.polygons(obb_to_corners(a - offset))
    second = shapely.polygons(obb_to_corners(b - offset))
    inter = shapely.area(shapely.intersection(first, second))
    return inter / (a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - inter)


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    w = rng.uniform(2.5, 40, count)
    xy = rng.uniform(0, 12_000, (count, 2))
    angle = rng.uniform(-np.pi / 2, np.pi / 2, count)
    return np.column_stack([xy, w, w * rng.uniform(0.1, 1, count), angle])


def test_random_pairs_equal_shapely() -> None:
    rng = np.random.default_rng(0)
    a = random_boxes(rng, 20_000)
    b = random_boxes(rng, 20_000)
    b[:, :2] = a[:, :2] + rng.normal(0, 6, (20_000, 2))
    result = rotated_iou_pairs(a, b)
    np.testing.assert_allclose(result, shapely_iou(a, b), rtol=0, atol=1e-9)
    np.testing.assert_allclose(result, rotated_iou_pairs(b, a), rtol=0, atol=1e-12)
    assert 0.3 < (result > 0).mean() < 0.95


@pytest.mark.parametrize("size", [(3.0, 3.0), (3.0, 2.5), (40.0, 0.5)])
@pytest.mark.parametrize("place", [0.0, 12_000.0, -30_000.5])
@pytest.mark.parametrize("angle", [0.0, 0.3, -np.pi / 2, np.pi / 4, 1e-9])
def test_degenerate_pairs(size: tuple[float, float], place: float, angle: float) -> None:
    w, h = size
    base = np.array([place, place / 2, w, h, angle])
    cos, sin = np.cos(angle), np.sin(angle)

    def changed(**change: float) -> np.ndarray:
        names = ("x", "y", "w", "h", "angle")
        return np.array([change.get(n, v) for n, v in zip(names, base, strict=True)])

    def iou(other: np.ndarray) -> float:
        return float(rotated_iou_pairs(base[None], other[None])[0])

    assert iou(base) == pytest.approx(1, abs=1e-12)
    assert iou(changed(angle=angle + np.pi)) == pytest.approx(1, abs=1e-9)
    assert iou(changed(w=h, h=w, angle=angle + np.pi / 2)) == pytest.approx(1, abs=1e-9)
    # Side by side: sharing an edge, then a corner.
    beside = changed(x=base[0] + w * cos, y=base[1] + w * sin)
    assert iou(beside) == pytest.approx(0, abs=1e-9)
    corner = changed(x=base[0] + w * cos - h * sin, y=base[1] + w * sin + h * cos)
    assert iou(corner) == pytest.approx(0, abs=1e-9)
    # Contained, with and without a shared edge; half and half.
    assert iou(changed(w=w / 2, h=h / 2)) == pytest.approx(0.25, abs=1e-9)
    inside = changed(x=base[0] + w / 4 * cos, y=base[1] + w / 4 * sin, w=w / 2)
    assert iou(inside) == pytest.approx(0.5, abs=1e-9)
    shifted = changed(x=base[0] + w / 2 * cos, y=base[1] + w / 2 * sin)
    assert iou(shifted) == pytest.approx(1 / 3, abs=1e-9)
    # Concentric, turned by a little and by a lot.
    for turn in (1e-12, 1e-6, 0.1, np.pi / 4, np.pi / 2):
        other = changed(angle=angle + turn)
        assert iou(other) == pytest.approx(shapely_iou(base[None], other[None])[0], abs=1e-9)


@given(st.integers(0, 100_000))
def test_pairs_on_a_lattice_equal_shapely(seed: int) -> None:
    """Few sizes, places and angles: edges and corners coincide all the time."""
    rng = np.random.default_rng(seed)
    boxes = np.column_stack([
        rng.integers(0, 4, (16, 2)) + 12_000.0,
        rng.integers(1, 4, (16, 2)).astype(float),
        rng.integers(-4, 4, 16) * np.pi / 8,
    ])  # fmt: skip
    a, b = boxes[:8], boxes[8:]
    np.testing.assert_allclose(rotated_iou_pairs(a, b), shapely_iou(a, b), rtol=0, atol=1e-9)


def test_a_box_without_area_overlaps_nothing() -> None:
    boxes = np.array([[5, 5, 4, 4, 0.2], [5, 5, 4, 0, 0.2], [5, 5, 0, 0, 0.0]])
    table = rotated_iou(boxes, boxes)
    np.testing.assert_allclose(table, [[1, 0, 0], [0, 0, 0], [0, 0, 0]], atol=1e-12)
    assert box_intersection(np.array([5.0, 5, 4, 0]), np.array([5.0, 5, 4, 0])) == 0


def in_frame_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Corners (4, 2) of b in the frame of a."""
    cos, sin = np.cos(a[4]), np.sin(a[4])
    return (obb_to_corners(b[None])[0] - a[:2]) @ np.array([[cos, -sin], [sin, cos]])


@given(st.integers(0, 100_000))
def test_the_bound_is_the_overlap_with_the_enclosing_box_in_the_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = random_boxes(rng, 8), random_boxes(rng, 8)
    b[:, :2] = a[:, :2] + rng.normal(0, 12, (8, 2))
    b[:2, 4] = a[:2, 4]
    for first, second in zip(a, b, strict=True):
        bound = rotated_bound(first, turns(first[None])[0], second, turns(second[None])[0])
        low, high = np.array([-1, 1])[:, None] * first[2:4] / 2
        points = in_frame_of(first, second)
        sides = np.minimum(points.max(axis=0), high) - np.maximum(points.min(axis=0), low)
        assert bound == pytest.approx(np.prod(np.maximum(sides, 0)), abs=1e-9)


@pytest.mark.parametrize(
    ("axis", "sign", "limit", "area"),
    [(0, 1.0, 1.0, 3.25), (0, -1.0, -1.0, 6.75), (1, 1.0, 2.0, 22 / 3), (1, -1.0, 0.0, 10.0),
     (0, 1.0, -1.0, 0.0), (1, -1.0, -9.0, 0.0)],
)  # fmt: skip
def test_cutting_a_concave_polygon(axis: int, sign: float, limit: float, area: float) -> None:
    shape = np.array([[0.0, 0], [4, 0], [4, 4], [2, 1], [0, 4]]).T
    target = np.zeros((2, 10))
    count = cut_polygon(shape, target, 5, axis, sign, limit)
    assert (sign * target[axis, :count] <= limit).all()
    x, y = target[:, :count]
    found = abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
    assert found == pytest.approx(area)
    assert count == 0 if area == 0 else count > 2


def test_the_table_has_all_pairs() -> None:
    rng = np.random.default_rng(1)
    a, b = random_boxes(rng, 3), random_boxes(rng, 4)
    b[0] = a[2]
    table = rotated_iou(a, b)
    assert table.shape == (3, 4)
    assert np.argwhere(table > 0).tolist() == [[2, 0]]
    assert rotated_iou(a[:0], b).shape == (0, 4)


def upright_iou(a: np.ndarray, b: np.ndarray) -> float:
    inter = box_intersection(a, b)
    return float(inter / (a[2] * a[3] + b[2] * b[3] - inter))


@given(st.integers(0, 100_000))
def test_upright_pairs_have_the_bits_of_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    place = np.array([3000.0, 2000.0, 0.0, 0.0])
    a = np.round(rng.uniform(0, 20, (12, 4)), 1) + place
    b = np.round(rng.uniform(0, 20, (12, 4)), 1) + place
    expected = np.diag(mask.iou(a, b, [0] * 12))
    found = [upright_iou(*pair) for pair in zip(a, b, strict=True)]
    np.testing.assert_array_equal(found, expected)


def test_an_iou_on_the_threshold_stays_there() -> None:
    a, b = np.array([0.1, 0.1, 12.0, 12.0]), np.array([0.1, 0.1, 12.0, 24.0])
    assert Fraction(upright_iou(a, b)) == Fraction(1, 2)
