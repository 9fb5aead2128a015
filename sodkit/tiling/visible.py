"""How much of a box or polygon lies in a window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from sodkit.data.records import FloatArray, Polygons
from sodkit.geometry.boxes import area, clip

Shapes = npt.NDArray[np.object_]
Window = tuple[float, float, float, float]


def shapes_of(polygons: Polygons) -> Shapes:
    """Return polygons as shapely's; in place of one that crosses itself its convex hull."""
    counts = np.diff(polygons.offsets)
    if not len(counts):
        return np.zeros(0, np.object_)
    rings = shapely.linearrings(polygons.points, indices=np.repeat(np.arange(len(counts)), counts))
    shapes = np.asarray(shapely.polygons(rings), np.object_)
    unsound = ~shapely.is_valid(shapes)
    shapes[unsound] = shapely.convex_hull(shapes[unsound])
    return shapes


def visible_area(bounds: FloatArray, shapes: Shapes | None, window: Window) -> FloatArray:
    """Return the areas inside a window.

    Args:
        bounds: (N, 4) xyxy: the boxes, or what encloses the polygons.
        shapes: (N,) polygons, None: the boxes themselves count.
        window: left, top, right, bottom.

    Returns:
        (N,) px^2.
    """
    if shapes is None:
        return area(clip(bounds, window))
    low, high = np.array(window[:2]), np.array(window[2:])
    inside = (bounds[:, :2] >= low).all(axis=1) & (bounds[:, 2:] <= high).all(axis=1)
    shown = shapes.copy()
    shown[~inside] = shapely.clip_by_rect(shapes[~inside], *window)
    return np.asarray(shapely.area(shown), np.float64)
