import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sodkit.geometry import boxes


def test_conversions() -> None:
    xywh = np.array([[1.0, 2, 5, 4], [-3, -2, 0, 9]])
    xyxy = boxes.xywh_to_xyxy(xywh)
    assert xyxy.tolist() == [[1, 2, 6, 6], [-3, -2, -3, 7]]
    assert boxes.xyxy_to_xywh(xyxy).tolist() == xywh.tolist()


def test_an_inverted_box_has_no_area() -> None:
    rows = np.array([[1.0, 2, 6, 5], [6, 2, 1, 5], [1, 5, 6, 2], [6, 5, 1, 2], [1, 2, 1, 5]])
    assert boxes.area(rows).tolist() == [15, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ([2, 3, 8, 9], [2, 3, 8, 9]),
        ([-5, -6, 50, 60], [1, 2, 10, 20]),
        ([-5, -6, 0, 0], [1, 2, 1, 2]),
        ([30, 40, 50, 60], [10, 20, 10, 20]),
    ],
)
def test_clipping(box: list[float], clipped: list[float]) -> None:
    assert boxes.clip(np.array([box], np.float64), (1, 2, 10, 20)).tolist() == [clipped]


def test_touching_and_inverted_boxes_overlap_nothing() -> None:
    a = np.array([[0.0, 0, 4, 4]])
    b = np.array([[4.0, 0, 8, 4], [0, 4, 4, 8], [4, 4, 0, 0], [9, 9, 12, 12]])
    assert boxes.intersection(a, b).tolist() == [[0, 0, 0, 0]]
    assert boxes.iou(a, b).tolist() == [[0, 0, 0, 0]]
    nothing = np.array([[3.0, 3, 3, 3]])
    assert boxes.iou(nothing, nothing).tolist() == [[0]]


@given(st.integers(0, 10_000))
def test_all_pairs_equal_shapely(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 12, (9, 2))
    rows = np.concatenate([low, low + rng.integers(1, 9, (9, 2))], axis=1).astype(np.float64)
    a, b = rows[:4], rows[4:]
    first, second = shapely.box(*a.T)[:, None], shapely.box(*b.T)[None]
    inter = shapely.area(shapely.intersection(first, second))
    np.testing.assert_allclose(boxes.intersection(a, b), inter)
    np.testing.assert_allclose(boxes.iou(a, b), inter / shapely.area(shapely.union(first, second)))
