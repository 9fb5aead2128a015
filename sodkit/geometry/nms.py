"""Non-maximum suppression on the CPU in nearly linear time: exactly the greedy result.

Boxes are taken best first. A box is kept unless a kept box of its group overlaps it with IoU above
the threshold. Kept boxes lie in a hash grid with one layer for each power of two of their size, in
the cell of their centre, so a box looks only at kept boxes near it and not much smaller than the
threshold allows.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from sodkit.geometry.overlap import rotated_intersection
from sodkit.geometry.rotated import obb_to_xyxy

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_LEVELS = 64
_LOWEST = -16
"""Layers hold boxes up to 2**(_LOWEST + layer) px: from 1.5e-5 px to 1.4e14 px."""

_FARTHEST = 1e9
"""Coordinates beyond this many px are refused: their cells would not fit an integer."""


def nms(
    xyxy: FloatArray, scores: FloatArray, iou: float, groups: IntArray | None = None
) -> IntArray:
    """Suppress upright boxes that overlap a better one of their group.

    Args:
        xyxy: (N, 4) left, top, right, bottom.
        scores: (N,) any order; equal scores count in input order.
        iou: a box goes if its IoU with a kept one is greater than this, 0 <= iou <= 1.
        groups: (N,) boxes of different groups do not see each other; None: one group.

    Returns:
        the kept indices (int64), best first.

    Raises:
        ValueError: a box or score that is not finite, a box beyond 1e9 px, or arrays of different
            lengths.
    """
    boxes = np.ascontiguousarray(xyxy, np.float64).reshape(-1, 4)
    return _suppress(boxes, np.zeros((0, 5)), scores, iou, groups)


def nms_rotated(
    obb: FloatArray, scores: FloatArray, iou: float, groups: IntArray | None = None
) -> IntArray:
    """Suppress oriented boxes that overlap a better one of their group.

    Args:
        obb: (N, 5) cx, cy, w, h, angle.
        scores: (N,) any order; equal scores count in input order.
        iou: a box goes if its rotated IoU with a kept one is greater than this, 0 <= iou <= 1.
        groups: (N,) boxes of different groups do not see each other; None: one group.

    Returns:
        the kept indices (int64), best first.

    Raises:
        ValueError: a box or score that is not finite, a box beyond 1e9 px, or arrays of different
            lengths.
    """
    boxes = np.ascontiguousarray(obb, np.float64).reshape(-1, 5)
    return _suppress(obb_to_xyxy(boxes), boxes, scores, iou, groups)


def _suppress(
    xyxy: FloatArray, obb: FloatArray, scores: FloatArray, iou: float, groups: IntArray | None
) -> IntArray:
    """Check, sort and run the kernel; ``obb`` has no rows if the boxes are upright."""
    count = len(xyxy)
    if groups is None:
        groups = np.zeros(count, np.int64)
    if len(scores) != count or len(groups) != count:
        raise ValueError(f"{count} boxes, {len(scores)} scores, {len(groups)} groups")
    if not (np.isfinite(xyxy).all() and np.isfinite(obb).all() and np.isfinite(scores).all()):
        raise ValueError("a box or score is not finite")
    if np.abs(xyxy).max(initial=0.0) > _FARTHEST:
        raise ValueError(f"a box lies more than {_FARTHEST:g} px from the origin")
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    kept = _greedy(xyxy, obb, np.ascontiguousarray(groups, np.int64), order, float(iou))
    return np.asarray(order[kept], np.int64)


@numba.njit(cache=True, nogil=True, inline="always")
def _slot(level: int, column: int, row: int, group: int, mask: int) -> int:
    """Return the place of a cell in the hash table."""
    key = column * 73856093 ^ row * 19349663 ^ group * 83492791 ^ level * 50331653
    key ^= key >> 15
    return key & mask


@numba.njit(cache=True, nogil=True)
def _overlaps(
    xyxy: FloatArray, obb: FloatArray, i: int, j: int, iou: float, buffer: FloatArray
) -> bool:
    """Tell whether boxes i and j have an IoU above ``iou``."""
    width = min(xyxy[i, 2], xyxy[j, 2]) - max(xyxy[i, 0], xyxy[j, 0])
    height = min(xyxy[i, 3], xyxy[j, 3]) - max(xyxy[i, 1], xyxy[j, 1])
    if width <= 0 or height <= 0:
        return False
    inter = width * height
    if len(obb) == 0:
        area_i = (xyxy[i, 2] - xyxy[i, 0]) * (xyxy[i, 3] - xyxy[i, 1])
        area_j = (xyxy[j, 2] - xyxy[j, 0]) * (xyxy[j, 3] - xyxy[j, 1])
        return bool(inter / (area_i + area_j - inter) > iou)
    total = obb[i, 2] * obb[i, 3] + obb[j, 2] * obb[j, 3]
    if total <= 0 or inter * (1 + iou) < iou * total * (1 - 1e-9):
        return False  # the enclosing boxes bound the overlap from above
    inter = rotated_intersection(obb[i], obb[j], buffer)
    return bool(inter > 0 and inter / max(total - inter, inter) > iou)


@numba.njit(cache=True, nogil=True)
def _greedy(
    xyxy: FloatArray, obb: FloatArray, groups: IntArray, order: IntArray, iou: float
) -> IntArray:
    """Return positions in ``order`` of the kept boxes, ascending."""
    count = len(order)
    size = 16
    while size < 2 * count:
        size *= 2
    head = np.full(size, -1, np.int64)
    following = np.empty(count, np.int64)
    used = np.zeros(_LEVELS, np.bool_)
    kept = np.empty(count, np.int64)
    found = 0
    buffer = np.empty((2, 2, 8))
    for position in range(count):
        i = order[position]
        side = max(xyxy[i, 2] - xyxy[i, 0], xyxy[i, 3] - xyxy[i, 1])
        if _is_suppressed(
            xyxy, obb, groups, i, iou, head, following, used, kept[:found], order, buffer
        ):
            continue
        level = 0
        while level < _LEVELS - 1 and 2.0 ** (_LOWEST + level) < side:
            level += 1
        cell = 2.0 ** (_LOWEST + level)
        column = math.floor((xyxy[i, 0] + xyxy[i, 2]) / 2 / cell)
        row = math.floor((xyxy[i, 1] + xyxy[i, 3]) / 2 / cell)
        slot = _slot(level, column, row, groups[i], size - 1)
        following[found] = head[slot]
        head[slot] = found
        used[level] = True
        kept[found] = position
        found += 1
    return kept[:found]


@numba.njit(cache=True, nogil=True)
def _is_suppressed(
    xyxy: FloatArray,
    obb: FloatArray,
    groups: IntArray,
    i: int,
    iou: float,
    head: IntArray,
    following: IntArray,
    used: npt.NDArray[np.bool_],
    kept: IntArray,
    order: IntArray,
    buffer: FloatArray,
) -> bool:
    """Look through the cells around box i for a kept box that suppresses it."""
    if len(obb):
        own = obb[i, 2] * obb[i, 3]
    else:
        own = (xyxy[i, 2] - xyxy[i, 0]) * (xyxy[i, 3] - xyxy[i, 1])
    for level in range(_LEVELS):
        if not used[level]:
            continue
        cell = 2.0 ** (_LOWEST + level)
        if level < _LEVELS - 1 and cell * cell < iou * own * (1 - 1e-9):
            continue  # every box of this layer is too small for the IoU
        # A box of this layer reaches at most half a cell beyond its centre (and rounding).
        half = cell * 0.5000001
        first = math.floor((xyxy[i, 0] - half) / cell)
        last = math.floor((xyxy[i, 2] + half) / cell)
        top = math.floor((xyxy[i, 1] - half) / cell)
        bottom = math.floor((xyxy[i, 3] + half) / cell)
        if float(last - first + 1) * float(bottom - top + 1) > len(kept):
            for k in range(len(kept)):  # fewer kept boxes than cells: ask them all
                j = order[kept[k]]
                if groups[j] == groups[i] and _overlaps(xyxy, obb, j, i, iou, buffer):
                    return True
            continue
        for column in range(first, last + 1):
            for row in range(top, bottom + 1):
                k = head[_slot(level, column, row, groups[i], len(head) - 1)]
                while k >= 0:
                    j = order[kept[k]]
                    if groups[j] == groups[i] and _overlaps(xyxy, obb, j, i, iou, buffer):
                        return True
                    k = following[k]
    return False
