"""The benchmark's size classes (paper of SODA): by area in px^2 of the original image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SIZE_NAMES = ("eS", "rS", "gS", "N", "larger")
"""Extremely, relatively, generally small, normal; ``larger`` counts nowhere in the metrics."""

SIZE_BOUNDS = (144.0, 400.0, 1024.0, 2000.0)
"""Upper bounds, inclusive, of the first four; the evaluator's ranges are its own."""


def size_index(area: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the index (N,) into ``SIZE_NAMES`` of areas (N,) in px^2."""
    return np.searchsorted(np.array(SIZE_BOUNDS), area, side="left").astype(np.int64)
