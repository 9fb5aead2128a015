"""Copies of small objects in free places of their image (Kisantal et al., 2019).

Small objects are few pixels of a data set: copies give the detector more of them to learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.images.decoding import RgbImage
from sodkit.data.samples.contents import Contents, joined, shifted
from sodkit.data.samples.draws import Draws
from sodkit.geometry import rotated
from sodkit.settings.augment import CopyPaste

_FRACTION = 4
"""Bits behind the point of OpenCV's corners."""


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """A copy of an object.

    Attributes:
        box: pixels it covers where it is: left, top, and right and bottom, which are excluded.
        right: px that it is moved to the right; negative: to the left.
        down: px that it is moved down.
        corners: (4, 2) of an oriented object: only what lies in it is copied; None: the whole box.
    """

    box: tuple[int, int, int, int]
    right: int
    down: int
    corners: FloatArray | None

    def paint(self, image: RgbImage) -> None:
        """Copy the object's pixels in (H, W, 3), where it is."""
        left, top, right, bottom = self.box
        source = image[top:bottom, left:right]
        place = image[top + self.down : bottom + self.down, left + self.right : right + self.right]
        if self.corners is None:
            place[:] = source
            return
        inside = np.zeros(source.shape[:2], np.uint8)
        corners = (self.corners - [left, top] - 0.5) * 2**_FRACTION
        cv2.fillPoly(inside, [np.rint(corners).astype(np.int32)], 1, shift=_FRACTION)
        np.copyto(place, source, where=inside[..., None] > 0)


def draw(contents: Contents, settings: CopyPaste, rng: Draws) -> tuple[tuple[Copy, ...], Contents]:
    """Draw copies of an image's small objects; none covers anything that is annotated.

    Args:
        contents: of the image.
        settings: how many copies, and of what.
        rng: what is drawn from: for each copy the object, then x and y until the place is free.

    Returns:
        the copies, and the contents with them.
    """
    boxes = _covered(contents)
    small = np.flatnonzero(_may_be_copied(contents, boxes, settings.largest))
    copies: list[Copy] = []
    parts = [contents]
    taken = boxes
    for _ in range(settings.copies if len(small) else 0):
        row = int(small[int(rng.integers(0, len(small)))])
        place = _free_place(boxes[row], taken, contents.placed.size, settings.tries, rng)
        if place is None:
            continue
        left, top, right, bottom = boxes[row].tolist()
        x, y = place[0] - left, place[1] - top
        obb = contents.placed.obb
        corners = None if obb is None else rotated.obb_to_corners(obb[row : row + 1])[0]
        copies.append(Copy((left, top, right, bottom), x, y, corners))
        taken = np.concatenate([taken, boxes[row : row + 1] + np.array([x, y, x, y])])
        one = contents.take(np.arange(len(contents.rows)) == row)
        parts.append(one.at(shifted(one.placed, x, y, one.placed.size)))
    return tuple(copies), joined(parts)


def paint(copies: Sequence[Copy], image: RgbImage) -> None:
    """Copy objects in an image (H, W, 3), where it is."""
    for copy in copies:
        copy.paint(image)


def _covered(contents: Contents) -> FloatArray:
    """Return the pixels (N, 4) int64 that annotations cover, if only in part."""
    obb = contents.placed.obb
    xyxy = contents.placed.xyxy if obb is None else rotated.obb_to_xyxy(obb)
    return np.concatenate([np.floor(xyxy[:, :2]), np.ceil(xyxy[:, 2:])], axis=1).astype(np.int64)


def _may_be_copied(contents: Contents, boxes: FloatArray, largest: float) -> FloatArray:
    """Return (N,) bool: the object is learnt, small, and lies in the image as a whole."""
    height, width = contents.placed.size
    obb, xyxy = contents.placed.obb, contents.placed.xyxy
    sides = xyxy[:, 2:] - xyxy[:, :2] if obb is None else obb[:, 2:4]
    inside = (boxes[:, :2] >= 0).all(axis=1) & (boxes[:, 2:] <= [width, height]).all(axis=1)
    return np.asarray(contents.learn & inside & (sides.prod(axis=1) <= largest))


def _free_place(
    box: FloatArray, taken: FloatArray, size: tuple[int, int], tries: int, rng: Draws
) -> tuple[int, int] | None:
    """Draw left and top of a place that covers none of the boxes (N, 4); None: none was found."""
    height, width = size
    own_width, own_height = (box[2:] - box[:2]).tolist()
    for _ in range(tries):
        x = int(rng.integers(0, width - own_width + 1))
        y = int(rng.integers(0, height - own_height + 1))
        place = np.array([x, y, x + own_width, y + own_height])
        meets = (place[:2] < taken[:, 2:]).all(axis=1) & (place[2:] > taken[:, :2]).all(axis=1)
        if not meets.any():
            return x, y
    return None
