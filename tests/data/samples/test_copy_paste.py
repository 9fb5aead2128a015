from __future__ import annotations

import numpy as np
import pytest

from sodkit.data.samples import copy_paste
from sodkit.data.samples.augmentation import Placed
from sodkit.data.samples.contents import Contents
from sodkit.geometry import rotated
from sodkit.settings.augment import CopyPaste

SIZE = (100, 140)
BOXES = np.array([[10.3, 12, 22, 30.6], [60, 50, 120, 95], [90, 5, 102, 14], [-3, 70, 9, 82]])


def contents(boxes: np.ndarray = BOXES, learn: tuple[bool, ...] = (True,) * 4) -> Contents:
    return Contents(Placed(SIZE, boxes, None), np.arange(len(boxes)), np.array(learn, bool))


def turned() -> Contents:
    obb = rotated.canonical(np.array([[30.0, 30, 20, 8, 0.6], [90, 60, 16, 10, -1.0]]))
    return Contents(Placed(SIZE, rotated.obb_to_xyxy(obb), obb), np.arange(2), np.ones(2, bool))


@pytest.mark.parametrize("seed", range(5))
def test_copies_cover_nothing_that_is_annotated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    copies, found = copy_paste.draw(contents(), CopyPaste(copies=6), rng)
    boxes = found.placed.xyxy
    assert len(copies) == len(boxes) - 4 > 2
    for k, box in enumerate(boxes[4:], 4):
        others = np.delete(boxes, k, axis=0)
        apart = (box[:2] >= others[:, 2:]) | (box[2:] <= others[:, :2])
        assert apart.any(axis=1).all()
        assert (box[:2] >= 0).all()
        assert (box[2:] <= SIZE[::-1]).all()


def test_small_objects_that_lie_in_the_image_are_copied_in_their_size() -> None:
    rng = np.random.default_rng(0)
    _, found = copy_paste.draw(contents(learn=(True, True, False, True)), CopyPaste(copies=9), rng)
    # the second is large, the third ignored, the fourth reaches out of the image
    assert set(found.rows[4:].tolist()) == {0}
    sides = found.placed.xyxy[4:, 2:] - found.placed.xyxy[4:, :2]
    np.testing.assert_allclose(sides, [BOXES[0, 2:] - BOXES[0, :2]] * len(sides))
    assert found.learn[4:].all()


def test_pixels_are_those_of_the_object() -> None:
    image = np.random.default_rng(1).integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    before = image.copy()
    copies, found = copy_paste.draw(contents(), CopyPaste(copies=3), np.random.default_rng(2))
    copy_paste.paint(copies, image)
    changed = np.zeros(SIZE, bool)
    for copy, row in zip(copies, found.rows[4:], strict=True):
        left, top, right, bottom = copy.box
        assert (left, top) == tuple(np.floor(BOXES[row, :2]))
        new = image[top + copy.down : bottom + copy.down, left + copy.right : right + copy.right]
        assert np.array_equal(new, before[top:bottom, left:right])
        changed[top + copy.down : bottom + copy.down, left + copy.right : right + copy.right] = True
    assert np.array_equal(image[~changed], before[~changed])


def test_of_an_oriented_object_only_what_lies_in_it_is_copied() -> None:
    image = np.arange(SIZE[0] * SIZE[1] * 3).reshape(*SIZE, 3).astype(np.uint8)
    image[..., 0] = 0  # the first channel says what was copied
    image[10:75, 10:105, 0] = 1
    given, rng = turned(), np.random.default_rng(2)
    copies, found = copy_paste.draw(given, CopyPaste(copies=1, largest=190.0), rng)
    (copy,) = copies
    before = image.copy()
    copy_paste.paint(copies, image)
    assert found.placed.obb is not None
    moved = found.placed.obb[-1] - found.placed.obb[found.rows[-1]]
    np.testing.assert_allclose(moved, [copy.right, copy.down, 0, 0, 0], atol=1e-12)
    changed = (image != before).any(axis=2).sum()
    assert changed == pytest.approx(160, rel=0.15)  # what encloses it has more than 300


def test_nothing_is_copied_without_room_or_small_objects() -> None:
    full = np.array([[0.0, 0, 20, 20], [0, 20, 140, 100], [20, 0, 140, 20]])
    rng, learn = np.random.default_rng(0), (True,) * 3
    copies, found = copy_paste.draw(contents(full, learn), CopyPaste(), rng)
    assert copies == ()
    assert len(found.rows) == 3
    copies, found = copy_paste.draw(contents(BOXES[1:2], (True,)), CopyPaste(), rng)
    assert (copies, len(found.rows)) == ((), 1)
    assert copy_paste.draw(contents(BOXES[:0], ()), CopyPaste(), rng)[0] == ()
