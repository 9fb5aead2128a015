"""Which upright boxes overlap which, without comparing all of them with all.

Anchors come row by row of a grid, so those that follow each other are neighbours. ``RUN`` of them
are enclosed by one box; only where an object touches that, they are compared one by one. What is
found is what comparing all finds, in the same order, whatever the order of the boxes: where
neighbours are far apart it takes longer. Memory is taken for what is found, and for nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from sodkit.arrays import FloatArray, IntArray
from sodkit.compiled import compiled

RUN = 64
"""Boxes that one box encloses: with fewer there are more of those to compare with, with more there
are more boxes that are compared in vain."""


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Upright boxes, and what encloses ``RUN`` of them after each other.

    Attributes:
        boxes: (N, 4) float64 xyxy.
        around: (R, 4) float64 xyxy.
    """

    boxes: FloatArray
    around: FloatArray

    @classmethod
    def of(cls, xyxy: FloatArray) -> Self:
        """Enclose the runs of boxes (N, 4) xyxy; one with NaN overlaps nothing."""
        boxes = np.ascontiguousarray(xyxy, np.float64).reshape(-1, 4)
        starts = np.arange(0, len(boxes), RUN)
        if len(starts) == 0:
            return cls(boxes, boxes)
        # fmin and fmax pass over NaN
        least = np.fmin.reduceat(boxes[:, :2], starts)
        return cls(boxes, np.hstack([least, np.fmax.reduceat(boxes[:, 2:], starts)]))

    def pairs(self, others: FloatArray) -> tuple[IntArray, IntArray]:
        """Return all pairs of a box and one of ``others`` that overlap, if only by a little.

        Boxes that share no more than a side do not.

        Args:
            others: (G, 4) xyxy.

        Returns:
            the boxes (P,) and the others (P,), sorted by the other one, then by the box.
        """
        others = np.ascontiguousarray(others, np.float64).reshape(-1, 4)
        none = np.zeros(0, np.int64)
        count = _pairs(self.boxes, self.around, others, RUN, none, none)
        box, other = np.empty(count, np.int64), np.empty(count, np.int64)
        _pairs(self.boxes, self.around, others, RUN, box, other)
        return box, other

    def rows(self, others: FloatArray) -> IntArray:
        """Return the boxes (n,), ascending, that overlap one of ``others`` (G, 4) or more."""
        return np.unique(self.pairs(others)[0])


@compiled("i8(f8[:,:], f8[:,:], f8[:,:], i8, i8[:], i8[:])")
def _pairs(
    boxes: FloatArray,
    around: FloatArray,
    others: FloatArray,
    size: int,
    box: IntArray,
    other: IntArray,
) -> int:
    """Write the pairs as far as there is room in ``box`` and ``other``; return their number."""
    count = 0
    for k in range(len(others)):
        for run in range(len(around)):
            if not _overlap(around[run], others[k]):
                continue
            for i in range(run * size, min(run * size + size, len(boxes))):
                if _overlap(boxes[i], others[k]):
                    if count < len(box):
                        box[count], other[count] = i, k
                    count += 1
    return count


def _overlap(a: FloatArray, b: FloatArray) -> bool:
    """Return whether two xyxy boxes overlap; those that share no more than a side do not."""
    return bool(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])
