"""What commands accept but a user should know of: said when data are read, never silently."""

from __future__ import annotations

import numpy as np
import shapely

from sodkit.data.records import Annotations, BoolArray

MIN_SIDE = 1.0
"""Objects thinner than this many px of a patch are not learnt: no anchor can reach them."""


def oddities(annotations: Annotations) -> list[str]:
    """Say how many objects have an odd shape, what becomes of them, and which is the first.

    Args:
        annotations: as read.

    Returns:
        a sentence for each kind of oddity there is: objects whose polygon crosses itself, regions
        of other than four corners, sides below ``MIN_SIDE``. ``sodkit check`` lists them all.
    """
    found = [
        (_crossing(annotations), "objects cross themselves: the rectangle around them counts"),
        (_cornered(annotations), "ignore regions have other than 4 corners; objects become them"),
        (_thin(annotations), f"objects have a side below {MIN_SIDE:g} px: not trained on"),
    ]
    return [
        f"{int(rows.sum())} {what} (first: {_place(annotations, rows)}); see sodkit check"
        for rows, what in found
        if rows.any()
    ]


def _place(annotations: Annotations, rows: BoolArray) -> str:
    row = int(np.flatnonzero(rows)[0])
    image = annotations.images[int(annotations.image_index[row])]
    return f"annotation {annotations.ids[row]} of {image.file_name}"


def _crossing(annotations: Annotations) -> BoolArray:
    """Return (N,) true for objects of four corners that do not go round the polygon in order."""
    result = np.zeros(len(annotations), np.bool_)
    if annotations.polygons is None:
        return result
    rows = np.flatnonzero(~annotations.is_region & (np.diff(annotations.polygons.offsets) == 4))
    points = annotations.polygons.take(rows).points.reshape(-1, 4, 2)
    result[rows] = ~shapely.is_simple(shapely.linearrings(points))
    return result


def _cornered(annotations: Annotations) -> BoolArray:
    """Return (N,) true for regions of other than four corners: an object so drawn is one, too."""
    if annotations.polygons is None:
        return np.zeros(len(annotations), np.bool_)
    return np.asarray(annotations.is_region & (np.diff(annotations.polygons.offsets) != 4))


def _thin(annotations: Annotations) -> BoolArray:
    sides = annotations.xywh[:, 2:] if annotations.obb is None else annotations.obb[:, 2:4]
    return np.asarray(~annotations.ignore & (sides.min(axis=1, initial=np.inf) < MIN_SIDE))
