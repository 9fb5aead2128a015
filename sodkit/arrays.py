"""Types of arrays, by what one element is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BitArray = npt.NDArray[np.uint32]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
WordArray = npt.NDArray[np.uint64]
