"""SODA's size classes, for sorting objects into groups (the evaluator's bounds are its own)."""

from __future__ import annotations

import numpy as np

from sodkit.data.records import FloatArray, IntArray

SIZE_CLASSES: tuple[tuple[str, float], ...] = (
    ("eS", 144.0),
    ("rS", 400.0),
    ("gS", 1024.0),
    ("N", 2000.0),
)
"""Name and largest area in px^2 of the original image; each begins above the one before."""

LARGER = len(SIZE_CLASSES)
"""The index of everything above N."""


def size_class(area: FloatArray) -> IntArray:
    """Return the index into ``SIZE_CLASSES`` of each area (N,) > 0, ``LARGER`` above the last."""
    bounds = [bound for _, bound in SIZE_CLASSES]
    return np.searchsorted(bounds, area, side="left").astype(np.int64)
