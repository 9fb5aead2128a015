"""Objects as the search for settings sees them: boxes, size classes, sizes of their images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.records import Annotations
from sodkit.data.sizes import SIZE_NAMES, size_index

COUNTING = 0.05
"""A size class counts if it has at least this share of the objects."""
SAMPLED = 2000
"""Objects of a size class that a search looks at."""


@dataclass(frozen=True, slots=True, eq=False)
class SizedObjects:
    """What the settings are to fit.

    Attributes:
        boxes: (N, 4) xyxy in px of the images, sides > 0.
        size: (N,) index into ``SIZE_NAMES``.
        images: (N, 2) width and height of each object's image.
    """

    boxes: FloatArray
    size: IntArray
    images: FloatArray

    def mean(self, values: BoolArray | IntArray) -> FloatArray:
        """Return the mean (5,) of values (N,) over each size class; NaN: it has no objects."""
        counts = self.counts()
        sums = np.bincount(self.size, weights=values, minlength=len(SIZE_NAMES))
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def counts(self) -> IntArray:
        """Return the objects of each size class (5,)."""
        return np.bincount(self.size, minlength=len(SIZE_NAMES))

    def counting(self) -> BoolArray:
        """Return which size classes (5,) have enough objects to be part of the value."""
        return np.asarray(self.counts() >= COUNTING * len(self.size))

    def long_side(self) -> float:
        """Return the longer side in px that 95 % of the objects do not exceed."""
        return float(np.quantile((self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1), 0.95))

    def small_side(self) -> float:
        """Return the root of the box's area in px that 95 % of the objects have at least."""
        sides = np.sqrt((self.boxes[:, 2:] - self.boxes[:, :2]).prod(axis=1))
        return float(np.quantile(sides, 0.05))

    def resized(self, scale: float, pad_to: int) -> tuple[FloatArray, FloatArray]:
        """Return boxes (N, 4) and sizes (N, 2) of their images in px of the network's input.

        Args:
            scale: resize factor.
            pad_to: the images' sides are padded to a multiple of this.
        """
        return self.boxes * scale, np.ceil(np.round(self.images * scale) / pad_to) * pad_to

    def sampled(self) -> SizedObjects:
        """Return at most ``SAMPLED`` objects of each size class, evenly spaced in their order."""
        rows = np.concatenate(
            [_spaced(np.flatnonzero(self.size == k)) for k in range(len(SIZE_NAMES))]
        )
        return SizedObjects(self.boxes[rows], self.size[rows], self.images[rows])


def sized_objects(annotations: Annotations) -> SizedObjects:
    """Return all objects but ignored ones, oriented ones by their enclosing boxes."""
    objects = annotations.take(~annotations.ignore)
    sizes = [(image.width, image.height) for image in objects.images]
    images = np.array(sizes, dtype=np.float64).reshape(-1, 2)[objects.image_index]
    return SizedObjects(objects.xyxy, size_index(objects.area), images)


def _spaced(rows: IntArray) -> IntArray:
    """Return at most ``SAMPLED`` of the rows."""
    if len(rows) <= SAMPLED:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, SAMPLED).astype(np.int64)])
