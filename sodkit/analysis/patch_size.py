"""Size and stride of patches for a resize factor: as many pixels as before, objects whole."""

from __future__ import annotations

import math

from sodkit.analysis.sized_objects import SizedObjects
from sodkit.settings import Input

STEP = 32
"""Patches that hold the largest image are a multiple of this, px."""
ROUND = 10
"""Strides are a multiple of this, px."""


def suggest_patch(objects: SizedObjects, own: Input, scale: float) -> tuple[int, int]:
    """Return size and stride of patches in px of the images.

    A patch has no more pixels after resizing than the recipe's, and is not larger than the
    largest image. Patches overlap by the recipe's share of their side, or more: so that 95 % of
    the objects are no longer than the overlap, and whole in one of them; by half at most.

    Args:
        objects: what is to be whole.
        own: the recipe's input.
        scale: the resize factor.
    """
    longest = float(objects.images.max())
    room = own.patch if scale == own.scale else max(1, int(own.side / scale))
    size = min(room, math.ceil(longest / STEP) * STEP)
    needed = objects.long_side() if longest > size else 0.0
    if size == own.patch and own.patch - own.stride >= needed:
        return own.patch, own.stride
    overlap = max(needed, size * max(0, own.patch - own.stride) / own.patch)
    stride = int(size - min(overlap, size / 2))
    return size, max(1, stride // ROUND * ROUND or stride)
