"""Stated areas of upright boxes: which can be true.

Size classes follow from areas, so an area that cannot be that of its box puts the object into the
wrong class. The area of a segmentation is smaller than its box, and is right.
"""

from __future__ import annotations

import numpy as np

from sodkit.arrays import BoolArray, FloatArray
from sodkit.data.formats.reading import Area
from sodkit.data.records import Note

_LEAST = 0.01
"""A segmentation covers at least this share of its box."""

_ROUNDING = 1e-3
"""So much, relative, a stated area may exceed the box's by rounding."""


def usable_areas(
    stated: FloatArray, xywh: FloatArray, which: Area | None
) -> tuple[FloatArray, tuple[Note, ...]]:
    """Return the area of each object, and what is to be said about the stated ones.

    Args:
        stated: (N,) px^2, NaN: not stated.
        xywh: (N, 4) sound boxes.
        which: the area that counts; None: the stated one where it can be true.

    Returns:
        (N,) areas in px^2, and a note if there are stated areas that cannot be true.
    """
    box = xywh[:, 2] * xywh[:, 3]
    there = ~np.isnan(stated)
    given = np.where(there, stated, box)
    wrong = impossible(stated, xywh)
    count, total = int(wrong.sum()), int(there.sum())
    if which == "box":
        return box, ()
    if not count:
        return given, ()
    first = int(np.flatnonzero(wrong)[0])
    what = (
        f"{count} of {total} stated areas cannot be those of their boxes, such as "
        f"{stated[first]:g} for a box of {xywh[first, 2]:g} x {xywh[first, 3]:g} px"
    )
    if which == "stated":
        return np.maximum(given, 0), (Note("area", f"{what}: used all the same (--area stated)"),)
    # A column that is mostly wrong holds something else: by chance some of it looks possible.
    mostly = 2 * count > total
    used = "the boxes' areas count" + (" for all" if mostly and count < total else "")
    area = box if mostly else np.where(wrong, box, given)
    return area, (Note("area", f"{what}: {used}; --area stated uses the stated ones"),)


def impossible(stated: FloatArray, xywh: FloatArray) -> BoolArray:
    """Return (N,) true where a stated area is no area of the box.

    It is larger than the box (with both sides counted in whole pixels, first and last included),
    not above 0, or below a hundredth of it. One value for boxes of different sizes is none either.
    """
    w, h = xywh[:, 2], xywh[:, 3]
    box, most = w * h, (w + 1) * (h + 1) * (1 + _ROUNDING)
    with np.errstate(invalid="ignore"):
        wrong = (stated > most) | (stated <= 0) | (stated < _LEAST * box)
        there = ~np.isnan(stated)
        one = there.sum() > 1 and np.ptp(stated[there]) == 0
        if one and np.ptp(box[there]) > _ROUNDING * box[there].max():
            wrong |= there & (np.abs(stated - box) > _ROUNDING * box)
    return np.asarray(wrong)
