"""What a training image shows: its annotations, where they are, and which are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.samples.augmentation import Placed
from sodkit.geometry import rotated

_THINNEST = 1.0
"""px: objects of which less is left along a side are not learnt (YOLOX)."""


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """Annotations in a picture.

    Attributes:
        placed: N boxes, and the picture's size.
        rows: (N,) of the annotations.
        learn: (N,) bool: objects that are learnt; others are ignored.
    """

    placed: Placed
    rows: IntArray
    learn: BoolArray

    def seen(self) -> Contents:
        """Return what shows in the picture.

        Upright boxes are clipped to it. Oriented ones stay whole: one whose centre lies beyond the
        picture is ignored.
        """
        height, width = self.placed.size
        edge = np.array([width, height], np.float64)
        xyxy, obb, learn = self.placed.xyxy, self.placed.obb, self.learn
        shown = ((xyxy[:, :2] < edge) & (xyxy[:, 2:] > 0)).all(axis=1)
        if obb is None:
            xyxy = np.clip(xyxy, 0, np.tile(edge, 2))
        else:
            learn = learn & ((obb[:, :2] > 0) & (obb[:, :2] < edge)).all(axis=1)
        placed = Placed((height, width), xyxy, obb)
        return Contents(placed, self.rows, np.asarray(learn)).take(np.asarray(shown))

    def thick(self) -> Contents:
        """Return the contents without objects of which only a line is left."""
        xyxy, obb = self.placed.xyxy, self.placed.obb
        sides = xyxy[:, 2:] - xyxy[:, :2] if obb is None else obb[:, 2:4]
        return self.take(np.asarray(~self.learn | (sides > _THINNEST).all(axis=1)))

    def take(self, kept: BoolArray) -> Contents:
        """Return some of the annotations."""
        return Contents(self.placed.take(kept), self.rows[kept], self.learn[kept])

    def at(self, placed: Placed) -> Contents:
        """Return the same annotations in other places."""
        return replace(self, placed=placed)


def joined(parts: Sequence[Contents]) -> Contents:
    """Return the contents of pictures that lie on each other, all of the first one's size."""
    obbs = [part.placed.obb for part in parts]
    oriented = [obb for obb in obbs if obb is not None]
    placed = Placed(
        parts[0].placed.size,
        np.concatenate([part.placed.xyxy for part in parts]),
        np.concatenate(oriented) if oriented else None,
    )
    return Contents(
        placed,
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.learn for part in parts]),
    )


def shifted(placed: Placed, left: float, top: float, size: tuple[int, int]) -> Placed:
    """Return boxes moved right and down, in a picture of ``size`` (height, width)."""
    obb = placed.obb
    return Placed(
        size,
        placed.xyxy + np.array([left, top, left, top]),
        None if obb is None else obb + np.array([left, top, 0, 0, 0]),
    )


def warped(placed: Placed, matrix: FloatArray, size: tuple[int, int]) -> Placed:
    """Return boxes under an affine map, in a picture of ``size`` (height, width).

    Upright boxes enclose their four corners. Oriented ones are exact unless the map shears: then
    they are the least rectangles around theirs.

    Args:
        placed: the boxes.
        matrix: (2, 3).
        size: of the result.
    """
    x1, y1, x2, y2 = placed.xyxy.T
    corners = np.stack([x1, y1, x2, y1, x2, y2, x1, y2], axis=1).reshape(-1, 4, 2)
    moved = corners @ matrix[:, :2].T + matrix[:, 2]
    xyxy = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)
    if placed.obb is None:
        return Placed(size, xyxy, None)
    turned = rotated.obb_to_corners(placed.obb) @ matrix[:, :2].T + matrix[:, 2]
    obb = rotated.corners_to_obb(turned)
    return Placed(size, rotated.obb_to_xyxy(obb), obb)
