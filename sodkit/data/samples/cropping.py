"""A random square window of a training image, around objects.

Law and Deng, CornerNet, ECCV 2018 (its code); mmdetection's RandomCenterCropPad.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sodkit.arrays import BoolArray, FloatArray
from sodkit.data.images.decoding import RgbImage
from sodkit.settings.recipe import RandomCrop

_TRIES = 50
"""So many places are tried for a window of one size."""

_SIZES = 20
"""So many sizes are tried; then the window lies around an object."""


class Draws(Protocol):
    """What is asked of numpy's ``Generator``."""

    def choice(self, values: Sequence[float], /) -> float:
        """Return one of the values."""

    def integers(self, low: int, high: int, /) -> int:
        """Return a whole number from ``low`` to ``high`` - 1."""


@dataclass(frozen=True, slots=True)
class Window:
    """A square of whole pixels, which may reach beyond the image.

    Attributes:
        left: of its first column; may be negative.
        top: of its first row.
        side: columns and rows.
    """

    left: int
    top: int
    side: int

    def holds(self, centres: FloatArray) -> BoolArray:
        """Return which points (N, 2) lie in it, its border excluded."""
        inside = (centres > self._corner) & (centres < self._corner + self.side)
        return np.asarray(inside.all(axis=1))

    def touches(self, xyxy: FloatArray) -> BoolArray:
        """Return which boxes (N, 4) share an area with it."""
        low, high = xyxy[:, :2], xyxy[:, 2:]
        return np.asarray(((low < self._corner + self.side) & (high > self._corner)).all(axis=1))

    def boxes(self, xyxy: FloatArray) -> FloatArray:
        """Return boxes (N, 4) in its pixels, clipped to it."""
        return np.clip(xyxy - np.tile(self._corner, 2), 0, self.side)

    def oriented(self, obb: FloatArray) -> FloatArray:
        """Return oriented boxes (N, 5) in its pixels, whole."""
        return np.concatenate([obb[:, :2] - self._corner, obb[:, 2:]], axis=1)

    def cut(self, image: RgbImage) -> RgbImage:
        """Return the pixels (side, side, 3), black beyond the image."""
        result = np.zeros((self.side, self.side, 3), np.uint8)
        height, width = image.shape[:2]
        left, right = max(0, self.left), min(width, self.left + self.side)
        top, bottom = max(0, self.top), min(height, self.top + self.side)
        if left < right and top < bottom:
            rows = slice(top - self.top, bottom - self.top)
            columns = slice(left - self.left, right - self.left)
            result[rows, columns] = image[top:bottom, left:right]
        return result

    @property
    def _corner(self) -> FloatArray:
        return np.array([self.left, self.top], np.float64)


def draw(size: tuple[int, int], centres: FloatArray, settings: RandomCrop, rng: Draws) -> Window:
    """Draw a window that an object's centre lies in; any window if there are no objects.

    Args:
        size: (height, width) of the image.
        centres: (G, 2) of the objects.
        settings: sizes, and the distance of its centre from the image's border.
        rng: what is drawn from: a size, then x and y until an object lies in it.
    """
    height, width = size
    margins = margin(settings.border, width), margin(settings.border, height)
    for _ in range(_SIZES):
        side = max(1, int(settings.side * float(rng.choice(settings.factors))))
        for _ in range(_TRIES):
            x, y = (
                int(rng.integers(least, full - least))
                for least, full in zip(margins, (width, height), strict=True)
            )
            window = _around(x, y, side)
            if len(centres) == 0 or window.holds(centres).any():
                return window
    x, y = centres[int(rng.integers(0, len(centres)))]
    return _around(int(x), int(y), side)


def _around(x: int, y: int, side: int) -> Window:
    return Window(x - side // 2, y - side // 2, side)


def margin(border: int, side: int) -> int:
    """Return how far from the border of a side a window's centre stays, less than half of it."""
    parts = 1
    while 2 * (border // parts) >= side:
        parts *= 2
    return border // parts
