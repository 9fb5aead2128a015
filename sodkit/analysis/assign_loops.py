"""The loops of ``assigners.py``: object by object over the few locations near it. Compiled."""

from __future__ import annotations

import math

import numpy as np

from sodkit.arrays import FloatArray, IntArray
from sodkit.compiled import compiled

SAME = 1e-6
"""Relative difference up to which two scores may be one: the detectors compute in float32."""

SIDE = 0.01
"""px that an anchor's centre has to lie inside of a box (ATSS's release)."""


@compiled("void(f8[:,:], f8[:,:], f8[:], i8[:], f8[:,:], f8, f8, i8[:])")
def match_loop(
    boxes: FloatArray,
    extents: FloatArray,
    strides: FloatArray,
    first: IntArray,
    halves: FloatArray,
    positive: float,
    low: float,
    counts: IntArray,
) -> None:
    """Count the positives of max-IoU assignment, step by step in float32 as the detectors.

    Args:
        boxes: (N, 4) xyxy.
        extents: (N, 2) px.
        strides: (K,) of groups of anchors; those of a group and a location count as one.
        first: (K + 1,) rows of ``halves`` at which a group begins.
        halves: (S, 2) half the width and height of the anchors.
        positive: least IoU of a positive.
        low: least IoU of a best anchor that is positive below that; above 1: none.
        counts: (N,) result.
    """
    for i in range(len(boxes)):
        counts[i] = _matched(
            boxes[i], extents[i], strides, first, halves, np.float32(positive), np.float32(low)
        )


def _matched(
    box: FloatArray,
    extent: FloatArray,
    strides: FloatArray,
    first: IntArray,
    halves: FloatArray,
    positive: np.float32,
    low: np.float32,
) -> int:
    area = _area(box)
    top, tied, reached = np.float32(0.0), 0, 0
    for group in range(len(strides)):
        stride, sizes = strides[group], halves[first[group] : first[group + 1]]
        if _bound(area, sizes) < (1 - 10 * SAME) * min(positive, top):
            continue  # these anchors are neither positive nor best
        wide, high = sizes[0, 0], sizes[0, 1]
        for size in range(len(sizes)):
            wide, high = max(wide, sizes[size, 0]), max(high, sizes[size, 1])
        left, right = _reached(box[0] - wide, box[2] + wide, stride, extent[0])
        upper, lower = _reached(box[1] - high, box[3] + high, stride, extent[1])
        for row in range(upper, lower):
            for column in range(left, right):
                iou = _best_iou(box, area, column * stride, row * stride, sizes)
                if iou > top:
                    top, tied = iou, 1
                elif iou == top and iou > 0:
                    tied += 1
                if iou >= positive:
                    reached += 1
    if top >= positive:
        return reached
    return tied if top >= low and top > 0 else 0


def _bound(area: np.float32, halves: FloatArray) -> float:
    """Return the most that an IoU can be: the smaller area over the larger."""
    best = 0.0
    for k in range(len(halves)):
        own = 4.0 * halves[k, 0] * halves[k, 1]
        best = max(best, min(own, area) / max(own, area))
    return best


def _reached(low: float, high: float, stride: float, extent: float) -> tuple[int, int]:
    """Return the cells from the first on whose places lie from ``low`` to ``high`` px."""
    end = min(math.floor(high / stride), math.ceil(extent / stride) - 1) + 1
    return max(math.ceil(low / stride), 0), end


def _area(box: FloatArray) -> np.float32:
    """Return the area of a box, in float32."""
    width = np.float32(box[2]) - np.float32(box[0])
    return width * (np.float32(box[3]) - np.float32(box[1]))


def _best_iou(
    box: FloatArray, area: np.float32, x: float, y: float, halves: FloatArray
) -> np.float32:
    """Return the best IoU of a box with the anchors about a place, all in float32."""
    best = np.float32(0.0)
    for k in range(len(halves)):
        wide, high = np.float32(halves[k, 0]), np.float32(halves[k, 1])
        left, right = np.float32(x) - wide, np.float32(x) + wide
        upper, lower = np.float32(y) - high, np.float32(y) + high
        width = min(np.float32(box[2]), right) - max(np.float32(box[0]), left)
        height = min(np.float32(box[3]), lower) - max(np.float32(box[1]), upper)
        if width > 0 and height > 0:
            overlap = width * height
            union = area + (right - left) * (lower - upper) - overlap
            best = max(best, overlap / union)
    return best


@compiled("void(f8[:,:], f8[:,:], f8[:], f8[:,:], f8, i8[:])")
def point_loop(
    boxes: FloatArray,
    extents: FloatArray,
    strides: FloatArray,
    ranges: FloatArray,
    radius: float,
    counts: IntArray,
) -> None:
    """Count the positive points of FCOS.

    Args:
        boxes: (N, 4) xyxy.
        extents: (N, 2) px.
        strides: (L,) of the levels.
        ranges: (L, 2) least and largest distance of each level in px.
        radius: of the centre region in strides.
        counts: (N,) result.
    """
    for i in range(len(boxes)):
        box = boxes[i]
        x0, y0 = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        counts[i] = 0
        for level in range(len(strides)):
            stride = strides[level]
            near, half = radius * stride, stride / 2
            left, right = _reached(x0 - near - half, x0 + near - half, stride, extents[i, 0])
            upper, lower = _reached(y0 - near - half, y0 + near - half, stride, extents[i, 1])
            for row in range(upper, lower):
                y = (row + 0.5) * stride
                if abs(y - y0) >= near or y <= box[1] or y >= box[3]:
                    continue
                for column in range(left, right):
                    x = (column + 0.5) * stride
                    if abs(x - x0) >= near or x <= box[0] or x >= box[2]:
                        continue
                    farthest = max(max(x - box[0], box[2] - x), max(y - box[1], box[3] - y))
                    if ranges[level, 0] <= farthest <= ranges[level, 1]:
                        counts[i] += 1


@compiled("void(f8[:,:], f8[:,:], f8[:], f8[:,:], i8, i8, f8[:,:], i8[:])")
def adaptive_loop(
    boxes: FloatArray,
    extents: FloatArray,
    strides: FloatArray,
    halves: FloatArray,
    candidates: int,
    reach: int,
    room: FloatArray,
    counts: IntArray,
) -> None:
    """Count the positives of ATSS.

    Args:
        boxes: (N, 4) xyxy.
        extents: (N, 2) px.
        strides: (L,) of the levels.
        halves: (L, 2) half the width and height of the anchors.
        candidates: of each level.
        reach: cells to each side of the nearest one that hold them.
        room: (L * candidates, 3) for squared distance, IoU and depth of the candidates.
        counts: (N,) result.
    """
    for i in range(len(boxes)):
        found = 0
        for level in range(len(strides)):
            anchors = halves[level : level + 1]
            part = room[found : found + candidates]
            found += _nearest(boxes[i], extents[i], strides[level], anchors, reach, part)
        total = 0.0
        for k in range(found):
            total += room[k, 1]
        mean, square = total / found, 0.0
        for k in range(found):
            square += (room[k, 1] - mean) ** 2
        least = (mean + math.sqrt(square / max(found - 1, 1))) * (1 - SAME)
        counts[i] = 0
        for k in range(found):
            if room[k, 1] >= least and room[k, 2] > SIDE:
                counts[i] += 1


def _nearest(
    box: FloatArray,
    extent: FloatArray,
    stride: float,
    halves: FloatArray,
    reach: int,
    room: FloatArray,
) -> int:
    """Fill the rows of ``room`` with the anchors nearest to a box; return how many there are."""
    x0, y0 = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    area = _area(box)
    left, right = _about(x0 / stride, reach, stride, extent[0])
    upper, lower = _about(y0 / stride, reach, stride, extent[1])
    filled = 0
    for row in range(upper, lower):
        for column in range(left, right):
            x, y = column * stride, row * stride
            distance = (x - x0) ** 2 + (y - y0) ** 2
            if filled < len(room):
                filled += 1
            elif distance >= room[filled - 1, 0]:
                continue
            place = filled - 1
            while place > 0 and room[place - 1, 0] > distance:
                for column_ in range(3):
                    room[place, column_] = room[place - 1, column_]
                place -= 1
            room[place, 0] = distance
            room[place, 1] = _best_iou(box, area, x, y, halves)
            room[place, 2] = min(min(x - box[0], box[2] - x), min(y - box[1], box[3] - y))
    return filled


def _about(place: float, reach: int, stride: float, extent: float) -> tuple[int, int]:
    """Return the cells from the first on about a place in cells; at a border they move inwards."""
    last = math.ceil(extent / stride) - 1
    nearest = min(max(round(place), 0), last)
    begin = min(max(nearest - reach, 0), max(last - 2 * reach, 0))
    return begin, min(begin + 2 * reach, last) + 1


@compiled(
    "void(f8[:,:], f8[:,:], f8[:], i8[:], f8[:,:], f8[:], i8[:], i8, i8, f8[:,:], f8[:,:], i8[:])"
)
def receptive_loop(
    boxes: FloatArray,
    extents: FloatArray,
    strides: FloatArray,
    first: IntArray,
    sizes: FloatArray,
    shrinks: FloatArray,
    taken: IntArray,
    reach: int,
    in_px: int,
    shapes: FloatArray,
    best: FloatArray,
    counts: IntArray,
) -> None:
    """Count the positives of RFLA.

    Args:
        boxes: (N, 4) xyxy.
        extents: (N, 2) px.
        strides: (L,) of the levels.
        first: (L + 1,) rows of ``sizes`` at which a level begins.
        sizes: (S, 2) width and height of the priors.
        shrinks: (2,) factor on the priors' sides in each round.
        taken: (2,) priors taken in each round.
        reach: cells to each side of the nearest one that hold them.
        in_px: by the squared Wasserstein distance, not the divergence.
        shapes: (2, S) room for the part of the distance that sizes alone make.
        best: (2, K) room for the highest scores of each round, K the larger of ``taken``.
        counts: (N,) result.
    """
    for i in range(len(boxes)):
        box = boxes[i]
        for turn in range(2):
            for k in range(len(sizes)):
                shapes[turn, k] = _shape_distance(box, sizes[k], shrinks[turn], in_px)
            for k in range(taken[turn]):
                best[turn, k] = 0.0
        counts[i] = 0
        for counting in range(2):  # the highest scores first, then who reaches them
            for level in range(len(strides)):
                counts[i] += _visit(
                    box, extents[i], strides[level], first[level], first[level + 1], taken,
                    reach, in_px, shapes, best, counting == 1,
                )  # fmt: skip


def _shape_distance(box: FloatArray, size: FloatArray, shrink: float, in_px: int) -> float:
    """Return what the sizes of a box and a prior add to their distance."""
    total = 0.0
    for axis in range(2):
        own, side = box[axis + 2] - box[axis], size[axis] * shrink
        if in_px:
            total += ((side - own) / 2) ** 2
        else:
            ratio = (side / own) ** 2
            total += (ratio - math.log(ratio) - 1) / 2
    return total


def _visit(
    box: FloatArray,
    extent: FloatArray,
    stride: float,
    begin: int,
    end: int,
    taken: IntArray,
    reach: int,
    in_px: int,
    shapes: FloatArray,
    best: FloatArray,
    counting: bool,
) -> int:
    """Keep the highest scores of a level's priors, or count those that are among the highest."""
    x0, y0 = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    width, height = box[2] - box[0], box[3] - box[1]
    left, right = _about(x0 / stride, reach, stride, extent[0])
    upper, lower = _about(y0 / stride, reach, stride, extent[1])
    count = 0
    for row in range(upper, lower):
        for column in range(left, right):
            dx, dy = column * stride - x0, row * stride - y0
            shift = dx**2 + dy**2
            if not in_px:
                shift = 2 * ((dx / width) ** 2 + (dy / height) ** 2)
            for k in range(begin, end):
                positive = False
                for turn in range(2):
                    score, many = 1 / (1 + shift + shapes[turn, k]), taken[turn]
                    if not counting:
                        _keep_highest(best[turn], many, score)
                    elif score >= best[turn, many - 1] * (1 - SAME):
                        positive = True
                if positive:
                    count += 1
    return count


def _keep_highest(best: FloatArray, many: int, score: float) -> None:
    """Put a score into its place among the highest ones, if it is one of them."""
    place = many - 1
    if score <= best[place]:
        return
    while place > 0 and best[place - 1] < score:
        best[place] = best[place - 1]
        place -= 1
    best[place] = score
