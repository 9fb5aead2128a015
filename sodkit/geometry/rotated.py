"""Oriented boxes as numpy arrays: the angle convention lives here.

An oriented box is (cx, cy, w, h, angle): centre and sides in continuous pixels, the angle in
radians from the image's x axis to the side w, clockwise as seen (y points down)::

    O----> x    angle = 0             angle = pi/6: w falls to the right
    |
    v y         1------ w ------2        1.
                |       C       h       /  `--.   w
                4---------------3      /       `--.
                                      4.    C      `--.
                                        `--.           2
                                            `--.      /  h
                                                `--. /
                                                    3

The canonical form ("le90") has w >= h and the angle in [-pi/2, pi/2); the angle of a square is
ambiguous by a quarter turn and left as it is. Corners go clockwise as seen, from 1 on; 1 is the
left top one of the box turned back to angle 0. ``models/parts/rotated_coders.py`` has the same in
torch, for any device and with gradients.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from sodkit.arrays import FloatArray, IntArray

MOST_RADIANS = 2 * math.pi + 1e-6
"""An angle beyond this is no radians."""

_BLOCK = 4096
"""Polygons worked on at once: what is needed in between stays in the cache, and small."""

_HULL_FROM = 9
"""Polygons of this many corners and more are reduced to their hull first: n^2 directions."""


def canonical(obb: FloatArray) -> FloatArray:
    """Return the same rectangles (N, 5) with w >= h and the angle in [-pi/2, pi/2)."""
    cx, cy, w, h, angle = obb.T
    upright = h > w
    turned = np.where(upright, angle + math.pi / 2, angle)
    wrapped = turned - math.pi * np.floor((turned + math.pi / 2) / math.pi)
    # Rounding leaves an angle just below -pi/2 there; never does it reach +pi/2 in float64.
    wrapped = np.maximum(wrapped, -math.pi / 2)
    return np.stack([cx, cy, np.where(upright, h, w), np.where(upright, w, h), wrapped], axis=1)


def obb_to_corners(obb: FloatArray) -> FloatArray:
    """Return the corners (N, 4, 2) of (N, 5) oriented boxes, clockwise as seen.

    The first corner is the left top one of the box turned back to angle 0.
    """
    cos, sin = np.cos(obb[:, 4]), np.sin(obb[:, 4])
    half_w = np.stack([cos, sin], axis=1) * (obb[:, 2, None] / 2)
    half_h = np.stack([-sin, cos], axis=1) * (obb[:, 3, None] / 2)
    offsets = np.stack(
        [-half_w - half_h, half_w - half_h, half_w + half_h, half_h - half_w], axis=1
    )
    return np.asarray(obb[:, None, :2] + offsets)


def obb_to_xyxy(obb: FloatArray) -> FloatArray:
    """Return the enclosing upright boxes (N, 4) xyxy of (N, 5) oriented boxes."""
    half = _half_extents(obb)
    return np.concatenate([obb[:, :2] - half, obb[:, :2] + half], axis=1)


def obb_to_xywh(obb: FloatArray) -> FloatArray:
    """Return the enclosing upright boxes (N, 4) xywh of (N, 5) oriented boxes."""
    half = _half_extents(obb)
    return np.concatenate([obb[:, :2] - half, 2 * half], axis=1)


def xyxy_to_obb(xyxy: FloatArray) -> FloatArray:
    """Return upright boxes (N, 4) xyxy as canonical oriented boxes (N, 5)."""
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    sides = xyxy[:, 2:] - xyxy[:, :2]
    return canonical(np.concatenate([centre, sides, np.zeros((len(xyxy), 1))], axis=1))


def corners_to_obb(corners: FloatArray) -> FloatArray:
    """Return the minimum-area rectangles of polygons with equally many corners.

    A minimum-area rectangle has a side along an edge of the convex hull, and no direction gives a
    smaller one: so the best over all directions between two corners is exact, without a hull.

    Args:
        corners: (N, K, 2) xy, K >= 1, in any order.

    Returns:
        (N, 5) canonical oriented boxes; a polygon without extent gives w = h = angle = 0.
    """
    boxes = np.empty((len(corners), 5))
    for start in range(0, len(corners), _BLOCK):
        x, y = np.ascontiguousarray(corners[start : start + _BLOCK].transpose(2, 1, 0))
        boxes[start : start + _BLOCK] = _least_rectangles(x, y)
    return canonical(boxes)


def polygons_to_obb(points: FloatArray, offsets: IntArray) -> FloatArray:
    """Return the minimum-area rectangles (N, 5) of ragged polygons.

    Args:
        points: (P, 2) xy of all corners.
        offsets: (N + 1,); polygon i is ``points[offsets[i]:offsets[i + 1]]``, one corner or more.

    Raises:
        ValueError: a polygon has no corner.
    """
    lengths = np.diff(offsets)
    if np.any(lengths < 1):
        raise ValueError(f"polygon {int(np.argmax(lengths < 1))} has no corner")
    boxes = np.zeros((len(lengths), 5))
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length)
        for start in range(0, len(alike), _BLOCK):
            rows = alike[start : start + _BLOCK]
            corners = points[offsets[rows][:, None] + np.arange(length)]
            if length < _HULL_FROM:
                boxes[rows] = corners_to_obb(corners)
            else:
                boxes[rows] = [corners_to_obb(_hull(one)[None])[0] for one in corners]
    return boxes


def flip_horizontal(obb: FloatArray, width: float) -> FloatArray:
    """Mirror (N, 5) oriented boxes left to right in an image of ``width`` px; canonical."""
    cx, cy, w, h, angle = obb.T
    return canonical(np.stack([width - cx, cy, w, h, -angle], axis=1))


def flip_vertical(obb: FloatArray, height: float) -> FloatArray:
    """Mirror (N, 5) oriented boxes top to bottom in an image of ``height`` px; canonical."""
    cx, cy, w, h, angle = obb.T
    return canonical(np.stack([cx, height - cy, w, h, -angle], axis=1))


def quarter_turn(obb: FloatArray, height: float) -> FloatArray:
    """Turn (N, 5) oriented boxes clockwise by 90 degrees with an image of ``height`` px; canonical.

    The image's height becomes its width.
    """
    cx, cy, w, h, angle = obb.T
    return canonical(np.stack([height - cy, cx, w, h, angle + math.pi / 2], axis=1))


def scale(obb: FloatArray, factors: tuple[float, float]) -> FloatArray:
    """Resize the plane by ``factors`` (x, y) > 0; return canonical (N, 5).

    Different factors make a rectangle a parallelogram. The side w follows its edge, in direction
    and length, and h keeps the area: scaling back by 1 / factors gives the same box again, unless
    it is so nearly square that the longer side became the shorter one.
    """
    x, y = factors
    if x == y:
        return canonical(obb * np.array([x, x, x, x, 1.0]))
    cx, cy, w, h, angle = obb.T
    across, down = x * np.cos(angle), y * np.sin(angle)
    stretch = np.hypot(across, down)
    return canonical(
        np.stack(
            [cx * x, cy * y, w * stretch, h * (x * y / stretch), np.arctan2(down, across)], axis=1
        )
    )


def _half_extents(obb: FloatArray) -> FloatArray:
    """Return half the width and height (N, 2) of the enclosing boxes."""
    cos, sin = np.abs(np.cos(obb[:, 4])), np.abs(np.sin(obb[:, 4]))
    w, h = obb[:, 2] / 2, obb[:, 3] / 2
    return np.stack([cos * w + sin * h, sin * w + cos * h], axis=1)


def _directions(k: int) -> list[tuple[int, int]]:
    """Return all pairs of K corners, the polygon's own edges first."""
    edges = [(i, (i + 1) % k) for i in range(k)] if k > 1 else []
    known = {frozenset(edge) for edge in edges}
    return edges + [pair for pair in combinations(range(k), 2) if frozenset(pair) not in known]


def _shoelace(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the areas (N,) of polygons of coordinates (K, N)."""
    doubled = np.sum(x * np.roll(y, -1, axis=0) - np.roll(x, -1, axis=0) * y, axis=0)
    return np.asarray(np.abs(doubled) / 2)


def _least_rectangles(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the minimum-area rectangles (N, 5) of polygons, not yet canonical.

    Args:
        x: (K, N); a row for each corner: numpy is quick along the long, last axis only.
        y: the same.
    """
    k, count = x.shape
    middle = np.stack([x.mean(axis=0), y.mean(axis=0)])
    x, y = x - middle[0], y - middle[1]  # near 0: no digits lost to large coordinates
    best = np.zeros((5, count))
    best_area = np.full(count, np.inf)
    # No rectangle is smaller than the polygon: one of its area (most are annotated as rectangles)
    # needs no further look. With five corners or more a polygon can cover itself twice.
    least = _shoelace(x, y) * (1 + 1e-12) if k == 4 else np.full(count, -1.0)
    rows = np.arange(count)
    for i, j in _directions(k):
        open_ = best_area[rows] > least[rows]
        if not open_.all():
            rows, x, y = rows[open_], x[:, open_], y[:, open_]
        if not len(rows):
            break
        rectangle = _rectangle_along(x, y, x[j] - x[i], y[j] - y[i])
        area = rectangle[2] * rectangle[3]
        # A rectangle's four edges tie but for rounding: the first one is taken.
        better = np.flatnonzero(area < best_area[rows] * (1 - 1e-12))
        best[:, rows[better]] = rectangle[:, better]
        best_area[rows[better]] = area[better]
    best[:2] += middle
    return best.T


def _rectangle_along(
    x: FloatArray, y: FloatArray, step_x: FloatArray, step_y: FloatArray
) -> FloatArray:
    """Return the enclosing rectangles (5, N) of points (K, N) with a side along a direction (N,).

    Where the direction has no length the sides are infinite.
    """
    length = np.hypot(step_x, step_y)
    valid = length > 0
    divisor = np.where(valid, length, 1.0)
    cos, sin = step_x / divisor, step_y / divisor
    along, across = x * cos + y * sin, y * cos - x * sin
    left, right = along.min(axis=0), along.max(axis=0)
    top, bottom = across.min(axis=0), across.max(axis=0)
    u, v = (left + right) / 2, (top + bottom) / 2
    w, h = np.where(valid, right - left, np.inf), np.where(valid, bottom - top, np.inf)
    return np.stack([u * cos - v * sin, u * sin + v * cos, w, h, np.arctan2(sin, cos)])


def _hull(points: FloatArray) -> FloatArray:
    """Return the corners (H, 2) of the convex hull of points (K, 2) (monotone chain)."""
    ordered = [(float(x), float(y)) for x, y in np.unique(points, axis=0)]
    if len(ordered) < 3:
        return np.array(ordered)
    return np.array(_chain(ordered)[:-1] + _chain(ordered[::-1])[:-1])


def _chain(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return one side of the hull of sorted points, both ends included."""
    chain: list[tuple[float, float]] = []
    for x, y in ordered:
        while len(chain) >= 2:
            (ax, ay), (bx, by) = chain[-2], chain[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain
