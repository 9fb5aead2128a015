"""How much of a polygon lies in a window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from sodkit.arrays import FloatArray, IntArray
from sodkit.data.records import Polygons

Shapes = npt.NDArray[np.object_]


def visible_shares(
    polygons: Polygons, rows: IntArray, frames: FloatArray, size: tuple[int, int]
) -> FloatArray:
    """Return how much of what the image shows of polygons is in windows, pair by pair.

    Args:
        polygons: of one image.
        rows: (K,) index of the polygon of each pair.
        frames: (K, 4) left, top, right, bottom of its window, inside the image; equal ones stand
            together.
        size: width and height of the image.

    Returns:
        (K,) shares in [0, 1], up to rounding; 0 of a polygon that has no area in the image.
    """
    low, high = _bounds(polygons)
    inside = ((low[rows] >= frames[:, :2]) & (high[rows] <= frames[:, 2:])).all(axis=1)
    share = np.ones(len(rows))
    cut = np.flatnonzero(~inside)
    chosen, shape = np.unique(rows[cut], return_inverse=True)
    shapes = _shapes(polygons.take(chosen))
    outside = np.asarray((low[chosen] < 0).any(axis=1) | (high[chosen] > size).any(axis=1))
    full = shapely.area(_clip(shapes, outside, (0, 0, *size)))[shape]
    shown = np.zeros(len(cut))
    for part in _runs(frames[cut]):
        shown[part] = shapely.area(shapely.clip_by_rect(shapes[shape[part]], *frames[cut[part[0]]]))
    share[cut] = np.divide(shown, full, out=np.zeros(len(cut)), where=full > 0)
    return share


def _bounds(polygons: Polygons) -> tuple[FloatArray, FloatArray]:
    """Return the least and greatest x and y (N, 2) of each polygon."""
    if not len(polygons):
        return np.zeros((0, 2)), np.zeros((0, 2))
    starts = polygons.offsets[:-1]
    low = np.minimum.reduceat(polygons.points, starts, axis=0)
    return low, np.maximum.reduceat(polygons.points, starts, axis=0)


def _shapes(polygons: Polygons) -> Shapes:
    """Return polygons as shapely's; in place of one that crosses itself its convex hull."""
    counts = np.diff(polygons.offsets)
    if not len(counts):
        return np.zeros(0, np.object_)
    rings = shapely.linearrings(polygons.points, indices=np.repeat(np.arange(len(counts)), counts))
    shapes = np.asarray(shapely.polygons(rings), np.object_)
    unsound = ~shapely.is_valid(shapes)
    shapes[unsound] = shapely.convex_hull(shapes[unsound])
    return shapes


def _clip(
    shapes: Shapes, where: npt.NDArray[np.bool_], frame: tuple[float, float, float, float]
) -> Shapes:
    """Return the shapes, some of them clipped."""
    clipped = shapes.copy()
    clipped[where] = shapely.clip_by_rect(shapes[where], *frame)
    return clipped


def _runs(frames: FloatArray) -> list[IntArray]:
    """Return the positions of each run of equal frames (K, 4)."""
    changes = np.flatnonzero((frames[1:] != frames[:-1]).any(axis=1)) + 1
    return np.split(np.arange(len(frames)), changes) if len(frames) else []
