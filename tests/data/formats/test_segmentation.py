"""Corners in COCO's segmentations: which are rectangles, and which of them are turned."""

import numpy as np
import pytest

from sodkit.data.formats.segmentation import rectangular, turned

UPRIGHT = [[10, 10], [30, 10], [30, 20], [10, 20]]
TURNED = [[20, 5], [30, 15], [15, 30], [5, 20]]
KITE = [[20, 0], [30, 10], [20, 60], [10, 10]]


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize(
    ("corners", "is_rectangle", "is_turned"),
    [(UPRIGHT, True, False), (TURNED, True, True), (KITE, False, True)],
    ids=["upright", "turned", "kite"],
)
def test_shapes(corners: list[list[int]], is_rectangle: bool, is_turned: bool, start: int) -> None:
    ring = np.roll(np.array([corners], np.float64), start, axis=1)
    assert rectangular(ring).tolist() == [is_rectangle]
    assert turned(ring).tolist() == [is_turned]


def test_corners_beyond_all_numbers_give_no_warning() -> None:
    """Such a polygon is refused later; a warning is an error in the tests."""
    far = np.array([[[-1e308, 0], [1e308, 0], [1e308, 1e308], [0, -1e308]]])
    assert rectangular(far).shape == (1,)
    assert turned(far).shape == (1,)
