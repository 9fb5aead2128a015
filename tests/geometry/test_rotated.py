import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sodkit.geometry.rotated import (
    canonical,
    corners_to_obb,
    obb_to_corners,
    obb_to_xywh,
    obb_to_xyxy,
    polygons_to_obb,
    xyxy_to_obb,
)


def random_boxes(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    w = rng.uniform(3, 60, count)
    h = w * rng.uniform(0.05, 0.99, count)
    xy = rng.uniform(0, 12_000, (count, 2))
    return np.column_stack([xy, w, h, rng.uniform(-np.pi / 2, np.pi / 2, count)])


def test_corners_turn_clockwise_as_seen() -> None:
    # y points down: a positive angle takes the right end of the box down.
    corners = obb_to_corners(np.array([[10.0, 20.0, 4.0, 2.0, np.pi / 2]]))[0]
    np.testing.assert_allclose(corners, [[11, 18], [11, 22], [9, 22], [9, 18]], atol=1e-12)
    corners = obb_to_corners(np.array([[10.0, 20.0, 4.0, 2.0, 0.0]]))[0]
    np.testing.assert_array_equal(corners, [[8, 19], [12, 19], [12, 21], [8, 21]])


@given(st.floats(0, 100), st.floats(0, 100), st.floats(-50, 50, allow_subnormal=False))
def test_canonical_is_the_same_rectangle_in_le90(w: float, h: float, angle: float) -> None:
    box = np.array([[5.0, 6.0, w, h, angle]])
    result = canonical(box)
    assert result[0, 2] >= result[0, 3]
    assert -math.pi / 2 <= result[0, 4] < math.pi / 2
    np.testing.assert_allclose(obb_to_xyxy(result), obb_to_xyxy(box), atol=1e-9)
    assert result[0, 2] * result[0, 3] == w * h
    np.testing.assert_array_equal(canonical(result), result)


def test_canonical_at_the_open_end() -> None:
    half = math.pi / 2
    angles = np.array([half, -half, np.nextafter(-half, -9), np.nextafter(half, 0), 3 * half])
    boxes = np.column_stack([np.zeros((5, 2)), np.full(5, 2.0), np.ones(5), angles])
    result = canonical(boxes)[:, 4]
    assert (result < half).all()
    assert (result >= -half).all()
    np.testing.assert_allclose(np.abs(result), half, atol=1e-9)


@given(st.integers(-(10**7), 10**7), st.integers(-4, 4))
def test_canonical_beside_any_open_end(turns: int, steps: int) -> None:
    """The angles next to an odd multiple of pi/2: rounding must not leave the interval."""
    angle = turns * math.pi - math.pi / 2
    for _ in range(abs(steps)):
        angle = math.nextafter(angle, math.copysign(math.inf, steps))
    result = canonical(np.array([[0.0, 0, 2, 1, angle], [0, 0, 1, 2, angle]]))[:, 4]
    assert (result < math.pi / 2).all()
    assert (result >= -math.pi / 2).all()


def test_round_trip_through_corners_is_exact() -> None:
    boxes = random_boxes(2000)
    back = corners_to_obb(obb_to_corners(boxes))
    np.testing.assert_allclose(back[:, :4], boxes[:, :4], atol=1e-9)
    turn = np.abs(back[:, 4] - boxes[:, 4])
    assert np.minimum(turn, np.pi - turn).max() < 1e-9


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("step", [1, -1])
def test_does_not_depend_on_the_order_of_corners(start: int, step: int) -> None:
    boxes = random_boxes(50)
    order = (start + step * np.arange(4)) % 4
    back = corners_to_obb(obb_to_corners(boxes)[:, order])
    np.testing.assert_allclose(back[:, :4], boxes[:, :4], atol=1e-9)


def smallest_along_edges(ring: np.ndarray) -> float:
    """The area by the definition: over the edges of the hull (shapely's is off by 4e-9)."""
    corners = (ring[:, 0] - ring[0, 0]) + 1j * (ring[:, 1] - ring[0, 1])
    areas = []
    for edge in np.diff(corners):
        turned = corners * np.conj(edge) / abs(edge)
        areas.append(np.ptp(turned.real) * np.ptp(turned.imag))
    return float(min(areas))


@given(st.integers(0, 10_000), st.integers(3, 12), st.sampled_from([3000, -5, -900]))
def test_minimum_area_rectangle_of_any_polygon(seed: int, corners: int, place: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 40, (corners, 2)) / 4 + place
    hull = shapely.convex_hull(shapely.multipoints(points))
    box = polygons_to_obb(points, np.array([0, corners]))
    if hull.area == 0:
        assert box[0, 3] == pytest.approx(0, abs=1e-9)
        return
    best = smallest_along_edges(np.array(hull.exterior.coords))
    assert box[0, 2] * box[0, 3] == pytest.approx(best, rel=1e-9)
    rectangle = shapely.polygons(obb_to_corners(box))[0]
    assert rectangle.buffer(1e-6).contains(hull)


def test_ragged_polygons_keep_their_order() -> None:
    square = [[0, 0], [4, 0], [4, 2], [0, 2]]
    triangle = [[10, 10], [14, 10], [10, 12]]
    circle = [[50 + 3 * math.cos(t), 50 + 3 * math.sin(t)] for t in np.linspace(0, 6, 30)]
    points = np.array(triangle + circle + square + [[7, 8]], np.float64)
    boxes = polygons_to_obb(points, np.array([0, 3, 33, 37, 38]))
    np.testing.assert_allclose(boxes[2], [2, 1, 4, 2, 0], atol=1e-12)
    np.testing.assert_allclose(boxes[3], [7, 8, 0, 0, 0])
    assert boxes[0, 2] * boxes[0, 3] == pytest.approx(8)
    np.testing.assert_allclose(boxes[1, :2], [50, 50], atol=0.1)
    with pytest.raises(ValueError, match="polygon 1 has no corner"):
        polygons_to_obb(points, np.array([0, 3, 3, 38]))


@pytest.mark.parametrize("corners", [1, 2, 8, 9, 30])
def test_corners_in_one_place_or_two(corners: int) -> None:
    same = np.full((corners, 2), [7.0, 8.0])
    np.testing.assert_array_equal(polygons_to_obb(same, np.array([0, corners])), [[7, 8, 0, 0, 0]])
    if corners == 1:
        return
    same[-1] = [10, 12]
    box = polygons_to_obb(same, np.array([0, corners]))
    np.testing.assert_allclose(box, [[8.5, 10, 5, 0, math.atan2(4, 3)]], atol=1e-9)


def test_more_polygons_than_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = random_boxes(23)
    corners = obb_to_corners(boxes)
    ring = np.concatenate([corners, (corners + np.roll(corners, -1, axis=1)) / 2], axis=1)
    once = corners_to_obb(corners), polygons_to_obb(corners.reshape(-1, 2), np.arange(24) * 4)
    many = polygons_to_obb(ring.reshape(-1, 2), np.arange(24) * 8)
    monkeypatch.setattr("sodkit.geometry.rotated._BLOCK", 5)
    np.testing.assert_array_equal(corners_to_obb(corners), once[0])
    np.testing.assert_array_equal(
        polygons_to_obb(corners.reshape(-1, 2), np.arange(24) * 4), once[1]
    )
    np.testing.assert_allclose(many[:, :4], boxes[:, :4], atol=1e-9)


def test_enclosing_boxes() -> None:
    boxes = random_boxes(200)
    corners = obb_to_corners(boxes)
    low, high = corners.min(axis=1), corners.max(axis=1)
    np.testing.assert_allclose(obb_to_xyxy(boxes), np.concatenate([low, high], 1), atol=1e-9)
    np.testing.assert_allclose(obb_to_xywh(boxes), np.concatenate([low, high - low], 1), atol=1e-9)


def test_upright_boxes_as_oriented_ones() -> None:
    boxes = np.array([[1.0, 2, 5, 4], [0, 0, 2, 9]])
    result = xyxy_to_obb(boxes)
    np.testing.assert_allclose(result[0], [3, 3, 4, 2, 0])
    np.testing.assert_allclose(result[1], [1, 4.5, 9, 2, -np.pi / 2])
    np.testing.assert_allclose(obb_to_xyxy(result), boxes, atol=1e-12)


def test_empty_input() -> None:
    assert corners_to_obb(np.zeros((0, 4, 2))).shape == (0, 5)
    assert obb_to_corners(np.zeros((0, 5))).shape == (0, 4, 2)
    assert canonical(np.zeros((0, 5))).shape == (0, 5)
    assert polygons_to_obb(np.zeros((0, 2)), np.array([0])).shape == (0, 5)
