"""Which upright boxes overlap, found by what encloses many of them, against all with all."""

from __future__ import annotations

import numpy as np
import pytest

from sodkit.geometry.touching import RUN, Runs


def strewn(count: int, seed: int) -> np.ndarray:
    """Return boxes with corners on whole pixels, so that many share a side and no more."""
    rng = np.random.default_rng(seed)
    low = rng.integers(-20, 80, (count, 2))
    return np.hstack([low, low + rng.integers(0, 12, (count, 2))]).astype(np.float64)


def grid(step: float, size: float) -> np.ndarray:
    """Return squares of ``size`` px about the points of a grid, row by row."""
    y, x = (axis.ravel() for axis in np.mgrid[0:80:step, 0:80:step])
    return np.column_stack([x - size / 2, y - size / 2, x + size / 2, y + size / 2])


def slowly(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the pairs (P, 2) of other and box by the definition."""
    with np.errstate(invalid="ignore"):
        begins = (boxes[:, :2] < others[:, None, 2:]).all(2)
        return np.argwhere(begins & (others[:, None, :2] < boxes[:, 2:]).all(2))


@pytest.mark.parametrize(
    "boxes",
    [grid(4, 9), strewn(500, 0), strewn(RUN, 1), strewn(1, 2)],
    ids=["grid", "strewn", "one run", "one box"],
)
def test_as_all_compared_with_all(boxes):
    others = strewn(60, 3)
    box, other = Runs.of(boxes).pairs(others)
    wanted = slowly(boxes, others)
    assert len(boxes) == 1 or len(wanted) > 30
    np.testing.assert_array_equal(np.column_stack([other, box]), wanted)
    np.testing.assert_array_equal(Runs.of(boxes).rows(others), np.unique(wanted[:, 1]))


def test_what_is_no_number_overlaps_nothing_and_hides_no_neighbour():
    boxes, others = grid(4, 9), strewn(40, 4)
    boxes[[0, 70, 71]] = np.nan
    boxes[130, 2] = np.nan
    boxes[200] = [-np.inf, -np.inf, np.inf, np.inf]
    others[5, 1] = np.nan
    box, other = Runs.of(boxes).pairs(others)
    np.testing.assert_array_equal(np.column_stack([other, box]), slowly(boxes, others))
    assert {0, 70, 71, 130}.isdisjoint(box.tolist())
    assert (box == 200).sum() == 39


@pytest.mark.parametrize(("boxes", "others"), [(0, 0), (0, 3), (3, 0)])
def test_nothing(boxes, others):
    runs = Runs.of(strewn(boxes, 0))
    assert [one.tolist() for one in runs.pairs(strewn(others, 1))] == [[], []]
    assert runs.rows(strewn(others, 1)).tolist() == []
