"""What commands accept but a user should know: said when data are read, never silently."""

from __future__ import annotations

import numpy as np
import shapely

from sodkit.arrays import BoolArray
from sodkit.data.records import CROWD, Annotations, Polygons

MIN_SIDE = 1.0
"""Objects thinner than this many px of a patch are not learnt: no anchor can reach them."""

_FAR = 1e9
"""Corners this far out are not looked at: they overflow, and reading refuses them."""


def oddities(annotations: Annotations) -> list[str]:
    """Say how many objects have an odd shape, how they are used, and which is the first.

    Args:
        annotations: as read.

    Returns:
        a sentence for each kind of oddity there is: objects whose polygon crosses itself, regions
        of other than four corners, sides below ``MIN_SIDE``, most objects iscrowd, no object at
        all. ``sodkit check`` lists them all.
    """
    crossed, cornered, thin = _crossed(annotations), _cornered(annotations), _thin(annotations)
    region = f"region{_s(cornered)} of other than 4 corners"
    found = [
        (crossed, f"object{_s(crossed)} with crossing sides: the rectangle around it counts"),
        (cornered, f"{region}: ignored, an object so drawn too"),
        (thin, f"object{_s(thin)} with a side below {MIN_SIDE:g} px: not trained on"),
    ]
    sentences = [
        f"{int(rows.sum())} {what} (first: {_place(annotations, rows)}); see sodkit check"
        for rows, what in found
        if rows.any()
    ]
    objects = ~annotations.is_region
    if annotations.images and not objects.any():
        sentences.append(f"none of the {len(annotations.images)} images has an object")
    crowded = crowds(annotations.flagged(CROWD)[objects])
    return sentences if crowded is None else [crowded, *sentences]


def crowds(crowd: BoolArray) -> str | None:
    """Say so if more than half of the objects are iscrowd; ``crowd``: (N,) which are.

    Tools that export every mask as RLE set iscrowd to 1 with it.
    """
    count = int(crowd.sum())
    if 2 * count <= len(crowd):
        return None
    return (
        f"{count} of {len(crowd)} objects are iscrowd, as masks exported as RLE are: they are "
        "ignored, not learnt; if they are single objects, set iscrowd to 0"
    )


def crossing(polygons: Polygons) -> BoolArray:
    """Return (N,) true for polygons whose sides cross: the corners do not go round it in order.

    Those of less than three corners, or with a corner further out than 1e9 px, do not count.
    """
    counts = np.diff(polygons.offsets)
    owner = np.repeat(np.arange(len(counts)), counts)
    far = np.zeros(len(counts), np.bool_)
    far[owner[~(np.abs(polygons.points) < _FAR).all(axis=1)]] = True
    usable = np.flatnonzero((counts >= 3) & ~far)
    some = polygons.take(usable)
    counts = np.diff(some.offsets)
    rings = shapely.linearrings(some.points, indices=np.repeat(np.arange(len(counts)), counts))
    result = np.zeros(len(far), np.bool_)
    result[usable] = ~shapely.is_simple(rings)
    return result


def _place(annotations: Annotations, rows: BoolArray) -> str:
    row = int(np.flatnonzero(rows)[0])
    image = annotations.images[int(annotations.image_index[row])]
    return f"annotation {annotations.ids[row]} of {image.file_name}"


def _s(rows: BoolArray) -> str:
    return "" if rows.sum() == 1 else "s"


def _crossed(annotations: Annotations) -> BoolArray:
    """Return (N,) true for objects that cross themselves."""
    if annotations.polygons is None:
        return np.zeros(len(annotations), np.bool_)
    result = np.zeros(len(annotations), np.bool_)
    rows = np.flatnonzero(~annotations.is_region & (np.diff(annotations.polygons.offsets) == 4))
    result[rows] = crossing(annotations.polygons.take(rows))
    return result


def _cornered(annotations: Annotations) -> BoolArray:
    """Return (N,) true for regions of other than four corners: an object so drawn is one, too."""
    if annotations.polygons is None:
        return np.zeros(len(annotations), np.bool_)
    return np.asarray(annotations.is_region & (np.diff(annotations.polygons.offsets) != 4))


def _thin(annotations: Annotations) -> BoolArray:
    sides = annotations.xywh[:, 2:] if annotations.obb is None else annotations.obb[:, 2:4]
    return np.asarray(~annotations.ignore & (sides.min(axis=1, initial=np.inf) < MIN_SIDE))
