from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodkit.data.samples import transforms

BOXES = np.array([[1.0, 2.0, 5.0, 4.0], [0.0, 0.0, 10.0, 8.0]])


@pytest.mark.parametrize(("factor", "size"), [(1.5, (12, 15)), (0.5, (4, 5)), (1.0, (8, 10))])
def test_resize_rounds_and_says_what_it_reached(factor: float, size: tuple[int, int]) -> None:
    image = np.arange(240, dtype=np.uint8).reshape(8, 10, 3)
    resized, scale = transforms.resize(image, factor)
    assert resized.shape == (*size, 3)
    assert scale == (size[1] / 10, size[0] / 8)


def test_boxes_follow_a_resize_with_rounding() -> None:
    image = np.zeros((7, 5, 3), np.uint8)
    resized, scale = transforms.resize(image, 1.5)
    corner = transforms.scale_boxes(np.array([[0.0, 0.0, 5.0, 7.0]]), scale)
    assert corner[0].tolist() == pytest.approx([0, 0, resized.shape[1], resized.shape[0]])


def test_flips_move_the_box_with_its_pixels() -> None:
    image = np.zeros((8, 10, 3), np.uint8)
    image[2:4, 1:5] = 255
    for across, box in (
        (True, transforms.flip_horizontal(BOXES, 10)[0]),
        (False, transforms.flip_vertical(BOXES, 8)[0]),
    ):
        flipped = image.copy()
        transforms.mirror(flipped, across=across, down=not across)
        x1, y1, x2, y2 = box.astype(int)
        assert flipped[y1:y2, x1:x2].min() == 255
        assert flipped.sum() == flipped[y1:y2, x1:x2].sum() == image.sum()


@given(st.lists(st.tuples(*[st.floats(0, 100)] * 4), max_size=5), st.floats(1, 200))
def test_flipping_twice_is_the_identity(rows: list[tuple[float, ...]], side: float) -> None:
    boxes = np.array(rows, np.float64).reshape(-1, 4)
    for flip in (transforms.flip_horizontal, transforms.flip_vertical):
        assert np.allclose(flip(flip(boxes, side), side), boxes)


def test_pad() -> None:
    image = np.full((2, 3, 3), 10, np.uint8)
    padded = transforms.pad(image, (5, 2), (1, 2, 3))
    assert padded.shape == (2, 5, 3)
    assert padded[0, 4].tolist() == [1, 2, 3]
    assert transforms.pad(image, (3, 2), (0, 0, 0)) is image
