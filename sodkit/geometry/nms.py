"""Non-maximum suppression on the CPU in nearly linear time: exactly the greedy result.

Boxes are taken best first. A box is kept unless a kept box of its group overlaps it with IoU above
the threshold. Kept boxes lie in a hash grid with a layer for each power of four of their longer
side, in the cell of their centre. A layer's cell is as wide as its largest box, so a box looks at a
handful of cells, and at no layer whose boxes are too small for the IoU.
"""

from __future__ import annotations

import math

import numpy as np

from sodkit.arrays import FloatArray, IntArray
from sodkit.compiled import compiled
from sodkit.geometry.overlap import rotated_bound, rotated_intersection, turns
from sodkit.geometry.rotated import obb_to_xyxy

_LAYERS = 24
_SMALLEST = 2.0**-14
"""Layer n holds boxes up to _SMALLEST * 4**n px wide and high: from 6e-5 px to 4e9 px."""

_FARTHEST = 1e9
"""Coordinates beyond this many px are refused: their cells would not fit an integer."""

_SLACK = 1e-9
"""Bounds are widened by this share, so rounding never hides a pair from the exact test."""


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
    boxes = np.ascontiguousarray(xyxy[order])
    oriented = np.ascontiguousarray(obb[order]) if len(obb) else obb
    ordered_groups = np.ascontiguousarray(groups[order], np.int64)
    areas = _areas(boxes) if len(obb) == 0 else oriented[:, 2] * oriented[:, 3]
    slots = 1 << max(2 * count - 1, 15).bit_length()
    room = np.empty((3, count), np.int64)
    found = _greedy(
        boxes,
        oriented,
        turns(oriented),
        areas,
        ordered_groups,
        float(iou),
        np.array([_SMALLEST * 4.0**layer for layer in range(_LAYERS)]),
        np.zeros((_LAYERS, 2)),
        np.full(slots, -1),
        room,
        np.empty((2, 2, 8)),
    )
    return np.asarray(order[room[0, :found]], np.int64)


def _areas(xyxy: FloatArray) -> FloatArray:
    """Return width times height, 0 for inverted boxes."""
    sides = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0.0)
    return np.ascontiguousarray(sides[:, 0] * sides[:, 1])


@compiled(
    "i8(f8[:,:], f8[:,:], f8[:,:], f8[:], i8[:], f8, f8[:], f8[:,:], i8[:], i8[:,:], f8[:,:,:])"
)
def _greedy(
    xyxy: FloatArray,
    obb: FloatArray,
    turn: FloatArray,
    areas: FloatArray,
    groups: IntArray,
    iou: float,
    cells: FloatArray,
    reach: FloatArray,
    head: IntArray,
    room: IntArray,
    buffer: FloatArray,
) -> int:
    """Find the kept ones of boxes in order of score, best first; return how many.

    Args:
        xyxy: (N, 4), of oriented boxes the enclosing ones.
        obb: (N, 5), or no rows.
        turn: cosine and sine of the angles of ``obb``.
        areas: (N,).
        groups: (N,).
        iou: threshold.
        cells: (layers,) the width of a cell.
        reach: (layers, 2) to fill from 0: largest half width and height of a layer's boxes.
        head: (a power of two,) to fill from -1: the last box of a slot of the hash table.
        room: (3, N) to fill; row 0 with the kept boxes, ascending.
        buffer: (2, 2, 8) scratch.
    """
    kept, following, near = room[0], room[1], room[2]
    size, found = len(head), 0
    for i in range(len(xyxy)):
        width, height = xyxy[i, 2] - xyxy[i, 0], xyxy[i, 3] - xyxy[i, 1]
        if areas[i] > 0 and width > 0 and height > 0:
            # One call a box, not one a pair: a call with arrays costs as much as 20 tests.
            close = _neighbours(
                xyxy,
                areas,
                groups,
                len(obb) == 0,
                i,
                iou,
                cells,
                reach,
                head,
                following,
                kept,
                found,
                near,
            )
            if len(obb) == 0 and close > 0:
                continue
            if close and _any_above(obb, turn, areas, i, iou, near, close, buffer):
                continue
        layer = 0
        while layer < _LAYERS - 1 and cells[layer] < max(width, height):
            layer += 1
        column = math.floor((xyxy[i, 0] + xyxy[i, 2]) / 2 / cells[layer])
        row = math.floor((xyxy[i, 1] + xyxy[i, 3]) / 2 / cells[layer])
        slot = _slot(layer, column, row, groups[i], size - 1)
        following[found] = head[slot]
        head[slot] = found
        reach[layer, 0] = max(reach[layer, 0], width / 2)
        reach[layer, 1] = max(reach[layer, 1], height / 2)
        kept[found] = i
        found += 1
    return found


def _slot(layer: int, column: int, row: int, group: int, mask: int) -> int:
    """Return the place of a cell in the hash table."""
    key = column * 73856093 ^ row * 19349663 ^ group * 83492791 ^ layer * 50331653
    key ^= key >> 15
    return key & mask


def _lies_in(
    xyxy: FloatArray, j: int, cells: FloatArray, layer: int, column: int, row: int
) -> bool:
    """Return whether box j is in this cell, or only in another one with the same slot.

    Of two cells in one slot both are scanned, so without this a box would be listed twice, and the
    list outgrow its place.
    """
    side = max(xyxy[j, 2] - xyxy[j, 0], xyxy[j, 3] - xyxy[j, 1])
    if (layer > 0 and side <= cells[layer - 1]) or (layer < _LAYERS - 1 and side > cells[layer]):
        return False
    x: int = math.floor((xyxy[j, 0] + xyxy[j, 2]) / 2 / cells[layer])
    y: int = math.floor((xyxy[j, 1] + xyxy[j, 3]) / 2 / cells[layer])
    return x == column and y == row


def _neighbours(
    xyxy: FloatArray,
    areas: FloatArray,
    groups: IntArray,
    exact: bool,
    i: int,
    iou: float,
    cells: FloatArray,
    reach: FloatArray,
    head: IntArray,
    following: IntArray,
    kept: IntArray,
    found: int,
    near: IntArray,
) -> int:
    """List in ``near`` the kept boxes whose enclosing boxes overlap box i enough; return how many.

    For upright boxes that is the exact test: the first one found suppresses, and 1 is returned.
    For oriented ones the enclosing overlap bounds the true one from above.
    """
    x0, y0, x1, y1 = xyxy[i, 0], xyxy[i, 1], xyxy[i, 2], xyxy[i, 3]
    own, group, close = areas[i], groups[i], 0
    # The intersection is at least iou * own, and at most the common width times the own height.
    least_w, least_h = iou * own / (y1 - y0) * (1 - _SLACK), iou * own / (x1 - x0) * (1 - _SLACK)
    for layer in range(_LAYERS):
        cell = cells[layer]
        if reach[layer, 0] == 0 or cell * cell < iou * own * (1 - _SLACK):
            continue  # no box, or all of them too small
        beyond_x = reach[layer, 0] * (1 + _SLACK) - least_w + cell * _SLACK
        beyond_y = reach[layer, 1] * (1 + _SLACK) - least_h + cell * _SLACK
        first, last = math.floor((x0 - beyond_x) / cell), math.floor((x1 + beyond_x) / cell)
        top, bottom = math.floor((y0 - beyond_y) / cell), math.floor((y1 + beyond_y) / cell)
        everything = float(last - first + 1) * float(bottom - top + 1) > found
        if everything:  # fewer kept boxes than cells: one pass over all of them
            first, last, top, bottom, close = 0, 0, 0, 0, 0
        for column in range(first, last + 1):
            for row in range(top, bottom + 1):
                k = found - 1
                if not everything:
                    k = head[_slot(layer, column, row, group, len(head) - 1)]
                while k >= 0:
                    j = kept[k]
                    k = k - 1 if everything else following[k]
                    width = min(x1, xyxy[j, 2]) - max(x0, xyxy[j, 0])
                    height = min(y1, xyxy[j, 3]) - max(y0, xyxy[j, 1])
                    if width <= 0 or height <= 0 or groups[j] != group:
                        continue
                    inter = width * height
                    if exact:
                        if inter / (areas[j] + own - inter) > iou:
                            return 1
                    elif inter * (1 + iou) >= iou * (areas[j] + own) * (1 - _SLACK) and (
                        everything or _lies_in(xyxy, j, cells, layer, column, row)
                    ):
                        near[close] = j
                        close += 1
        if everything:
            break
    return close


def _any_above(
    obb: FloatArray,
    turn: FloatArray,
    areas: FloatArray,
    i: int,
    iou: float,
    near: IntArray,
    close: int,
    buffer: FloatArray,
) -> bool:
    """Return whether box i has an IoU above ``iou`` with one of ``near[:close]``."""
    for n in range(close):
        j = near[n]
        total = areas[j] + areas[i]
        least = iou * total * (1 - _SLACK)  # inter / (total - inter) > iou, solved for inter
        if rotated_bound(obb[j], turn[j], obb[i], turn[i]) * (1 + iou) < least:
            continue
        inter = rotated_intersection(obb[j], turn[j], obb[i], turn[i], buffer)
        if inter > 0 and inter / max(total - inter, inter) > iou:
            return True
    return False
