"""Exact overlap of pairs of boxes, upright or oriented, in functions that can be compiled.

Upright boxes are xywh here, with the arithmetic of pycocotools' ``bbIou`` operation by operation:
areas and unions come from the width and height as annotated, so an IoU that lies exactly on a
threshold falls on the same side. A pair without area has IoU 0.

Oriented boxes are (cx, cy, w, h, angle), see ``rotated.py``. The overlap is a polygon clipped in
float64 in the frame of the first box: both boxes are moved near 0 and every clipping line is
parallel to an axis, so nothing degenerates for identical, touching or contained boxes.
"""

from __future__ import annotations

import numpy as np

from sodkit.arrays import FloatArray
from sodkit.compiled import compiled


def rotated_iou_pairs(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the IoU (N,) of oriented boxes ``a[i]`` and ``b[i]``, both (N, 5).

    Within 1e-9 of the exact value; 0 where one of them has no area.
    """
    a, b = (np.ascontiguousarray(boxes, np.float64).reshape(-1, 5) for boxes in (a, b))
    out = np.zeros(len(a))
    _rotated_iou_pairs(a, turns(a), b, turns(b), np.empty((2, 2, 8)), out)
    return out


def rotated_iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the IoU (N, M) of all pairs of oriented boxes, as ``boxes.iou`` of upright ones.

    Args:
        a: (N, 5).
        b: (M, 5).
    """
    first, second = np.repeat(a, len(b), axis=0), np.tile(b, (len(a), 1))
    return rotated_iou_pairs(first, second).reshape(len(a), len(b))


def box_intersection(a: FloatArray, b: FloatArray) -> float:
    """Return the intersection of two xywh boxes in px^2 (0 if they only touch)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    if width <= 0:
        return 0.0
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if height <= 0:
        return 0.0
    return float(width * height)


def turns(obb: FloatArray) -> FloatArray:
    """Return cosine and sine (N, 2) of the boxes' angles, as the functions below want them."""
    return np.stack([np.cos(obb[:, 4]), np.sin(obb[:, 4])], axis=1)


def rotated_bound(a: FloatArray, turn_a: FloatArray, b: FloatArray, turn_b: FloatArray) -> float:
    """Return an upper bound of the intersection of two oriented boxes.

    It is the overlap of ``a`` with the box that encloses ``b`` in the frame of ``a``: far cheaper
    than the polygon, and nearly always enough to rule out neighbours side by side.
    """
    dx, dy = b[0] - a[0], b[1] - a[1]
    cos = abs(turn_a[0] * turn_b[0] + turn_a[1] * turn_b[1])
    sin = abs(turn_a[0] * turn_b[1] - turn_a[1] * turn_b[0])
    x, y = abs(dx * turn_a[0] + dy * turn_a[1]), abs(dy * turn_a[0] - dx * turn_a[1])
    half_w, half_h = (cos * b[2] + sin * b[3]) / 2, (sin * b[2] + cos * b[3]) / 2
    width = min(a[2] / 2, x + half_w) - max(-a[2] / 2, x - half_w)
    height = min(a[3] / 2, y + half_h) - max(-a[3] / 2, y - half_h)
    return float(width * height) if width > 0 and height > 0 else 0.0


def rotated_intersection(
    a: FloatArray, turn_a: FloatArray, b: FloatArray, turn_b: FloatArray, buffer: FloatArray
) -> float:
    """Return the intersection of two oriented boxes in px^2.

    Args:
        a: (5,) the box whose frame is used.
        turn_a: (2,) cosine and sine of its angle.
        b: (5,) the box that is clipped.
        turn_b: (2,) cosine and sine of its angle.
        buffer: (2, 2, 8) scratch: x and y of the polygon before and after a cut.
    """
    dx, dy = b[0] - a[0], b[1] - a[1]
    x, y = dx * turn_a[0] + dy * turn_a[1], dy * turn_a[0] - dx * turn_a[1]
    cos = turn_a[0] * turn_b[0] + turn_a[1] * turn_b[1]
    sin = turn_a[0] * turn_b[1] - turn_a[1] * turn_b[0]
    wx, wy, hx, hy = b[2] / 2 * cos, b[2] / 2 * sin, -b[3] / 2 * sin, b[3] / 2 * cos
    buffer[0, 0, 0], buffer[0, 1, 0] = x - wx - hx, y - wy - hy
    buffer[0, 0, 1], buffer[0, 1, 1] = x + wx - hx, y + wy - hy
    buffer[0, 0, 2], buffer[0, 1, 2] = x + wx + hx, y + wy + hy
    buffer[0, 0, 3], buffer[0, 1, 3] = x - wx + hx, y - wy + hy
    count = 4
    now = 0
    for side in range(4):
        axis = side >> 1
        sign = 1.0 if side & 1 else -1.0
        count = cut_polygon(buffer[now], buffer[1 - now], count, axis, sign, a[2 + axis] / 2)
        now = 1 - now
        if count == 0:
            return 0.0
    return _polygon_area(buffer[now], count)


def cut_polygon(
    source: FloatArray, target: FloatArray, count: int, axis: int, sign: float, limit: float
) -> int:
    """Cut a polygon by a line parallel to an axis.

    Args:
        source: (2, >= count) x and y of the corners.
        target: (2, >= 2 * count) takes the corners with sign * coordinate[axis] <= limit. A convex
            polygon gets at most one corner more, a concave one may stay joined by edges that run
            to and fro on the line and have no area between them.
        count: corners of ``source``.
        axis: 0 cuts by x, 1 by y.
        sign: 1.0 or -1.0.
        limit: the line.

    Returns:
        the corners of ``target``.
    """
    kept = 0
    other = 1 - axis
    last = count - 1
    before = sign * source[axis, last] - limit
    for i in range(count):
        after = sign * source[axis, i] - limit
        if (before > 0) != (after > 0):
            share = before / (before - after)
            step = source[other, i] - source[other, last]
            target[axis, kept] = sign * limit
            target[other, kept] = source[other, last] + share * step
            kept += 1
        if after <= 0:
            target[0, kept] = source[0, i]
            target[1, kept] = source[1, i]
            kept += 1
        before = after
        last = i
    return kept


def _polygon_area(polygon: FloatArray, count: int) -> float:
    """Return the area of a convex polygon (2, count) by the fan around its first corner."""
    doubled = 0.0
    x0, y0 = polygon[0, 0], polygon[1, 0]
    for i in range(1, count - 1):
        ax, ay = polygon[0, i] - x0, polygon[1, i] - y0
        bx, by = polygon[0, i + 1] - x0, polygon[1, i + 1] - y0
        doubled += ax * by - bx * ay
    return abs(doubled) / 2


@compiled("void(f8[:,:], f8[:,:], f8[:,:], f8[:,:], f8[:,:,:], f8[:])")
def _rotated_iou_pairs(
    a: FloatArray,
    turns_a: FloatArray,
    b: FloatArray,
    turns_b: FloatArray,
    buffer: FloatArray,
    out: FloatArray,
) -> None:
    for i in range(len(a)):
        total = a[i, 2] * a[i, 3] + b[i, 2] * b[i, 3]
        if a[i, 2] > 0 and a[i, 3] > 0 and b[i, 2] > 0 and b[i, 3] > 0:
            inter = rotated_intersection(a[i], turns_a[i], b[i], turns_b[i], buffer)
            out[i] = min(inter / (total - inter), 1.0) if inter < total else 1.0
