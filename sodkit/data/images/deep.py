"""Images of more than 8 bits a channel as 8 bits.

Cameras store 10, 12 or 14 bits in 16: of the upper 8 bits alone such an image would be black or
nearly so. So the bits that an image uses count; floating-point values are scaled by their range.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras use of 16."""


def bit_depth(highest: int) -> int:
    """Return the least usual depth in bits that holds a value of up to 65535."""
    return next(depth for depth in _DEPTHS if highest < 1 << depth)


def to_8_bits(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return an image of whole or floating-point values as uint8 of the same shape.

    Whole numbers lose the lower bits of the depth they use. Floating-point values are those of
    [0, 1], of [0, 255], or else of the image's own range; what is not finite becomes 0.
    """
    if image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    if np.issubdtype(image.dtype, np.integer):
        depth = bit_depth(int(image.max(initial=0)))
        return (image >> (depth - 8)).astype(np.uint8)
    values = np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    return np.asarray(np.rint((values - low) / (high - low) * 255), np.uint8)


def described(image: npt.NDArray[Any]) -> str:
    """Say what depth, channels and values an image has, and how it is read."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    head = f"{8 * image.dtype.itemsize} bits a channel, {channels} channel{'s'[: channels - 1]}"
    low, high = image.min(initial=0), image.max(initial=0)
    if np.issubdtype(image.dtype, np.integer):
        low = image.min(initial=high)
        return f"has {head}, values {low} to {high}: read as one of {bit_depth(int(high))} bits"
    return f"has {head}, floating-point values {low:g} to {high:g}: scaled to 0 to 255"
