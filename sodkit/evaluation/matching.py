"""Greedy matching of detections to objects, over the few pairs that overlap enough.

COCO's rule, for each IoU threshold and area range: detections, best first, take the free object of
their group with the highest IoU that reaches the threshold; of equal IoUs the later object. An
object that counts beats any ignored one; one outside the area range is ignored there. A detection
that took an ignored object is neither right nor wrong.

Only pairs whose IoU reaches the lowest threshold are ever stored (``Candidates``). Thresholds are
bits of an integer, so a detection with one candidate is matched at all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from sodkit.arrays import BitArray, BoolArray, FloatArray, IntArray
from sodkit.compiled import compiled
from sodkit.evaluation.tables import Table, counting_order, descending_order
from sodkit.geometry.overlap import box_intersection, rotated_bound, rotated_intersection, turns
from sodkit.threads import map_in_order

Progress = Callable[[int, int], None]

THREADS = 2
"""Threads of the compiled parts; the result does not depend on it."""

_CHUNKS = 16
"""Parts the groups are cut into: enough to balance the threads and to show progress."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Pairs of a detection and an object of its group that overlap enough.

    Attributes:
        detection: (P,) positions in the detection table, ascending.
        target: (P,) positions in the object table, ascending for each detection.
        overlap: (P,) IoU; of crowds the share of the detection inside.
    """

    detection: IntArray
    target: IntArray
    overlap: FloatArray

    def __len__(self) -> int:
        return len(self.detection)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What the detections that have a candidate matched.

    Attributes:
        detection: (D,) positions in the detection table, ascending.
        right: (D, A) bit t: matched, at threshold t, an object that counts.
        taken: (D, A) bit t: matched any object, also an ignored one.
        target: (D, T) position in the object table of the match in the first area range, -1: none.
    """

    detection: IntArray
    right: BitArray
    taken: BitArray
    target: npt.NDArray[np.int32]


def find_candidates(
    objects: Table,
    detections: Table,
    crowd: BoolArray,
    threshold: float,
    progress: Progress | None = None,
) -> Candidates:
    """Return the pairs of one group whose overlap reaches ``threshold``.

    Args:
        objects: in groups.
        detections: in the same groups, boxes of the same kind.
        crowd: (G,) objects whose overlap is the share of the detection inside.
        threshold: lowest overlap that is kept, > 0.
        progress: called with groups done and all groups.
    """
    groups = len(objects.offsets) - 1
    bounds = _chunks(objects.offsets, detections.offsets)
    hulls, object_turns = _enclosing(objects.boxes)
    detection_hulls, detection_turns = _enclosing(detections.boxes)
    by_left = _by_left_side(hulls, objects.offsets)
    work = partial(
        _some_candidates,
        objects.boxes,
        object_turns,
        hulls[by_left],
        objects.offsets,
        by_left,
        crowd,
        detections.boxes,
        detection_turns,
        detection_hulls,
        detections.offsets,
        threshold,
    )
    parts = []
    found = map_in_order(lambda run: work(*run), pairwise(bounds), THREADS)
    for part, end in zip(found, bounds[1:], strict=True):
        parts.append(part)
        if progress is not None:
            progress(end, groups)
    return Candidates(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _chunks(objects: IntArray, detections: IntArray) -> list[int]:
    """Return bounds of runs of groups with about the same work."""
    load = objects + detections
    targets = np.linspace(0, load[-1], _CHUNKS + 1)
    inner = np.searchsorted(load, targets[1:-1])
    return [0, *np.maximum.accumulate(inner).tolist(), len(load) - 1]


def _enclosing(boxes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the enclosing boxes (N, 4) xywh, and of oriented boxes cosine and sine (N, 2)."""
    if boxes.shape[1] == 4:
        return boxes, np.zeros((0, 2))
    turn = turns(boxes)
    hulls = np.empty((len(boxes), 4))
    _enclose(boxes, turn, hulls)
    return hulls, turn


@compiled("void(f8[:,:], f8[:,:], f8[:,:])")
def _enclose(obb: FloatArray, turn: FloatArray, out: FloatArray) -> None:
    for i in range(len(obb)):
        cos, sin = abs(turn[i, 0]), abs(turn[i, 1])
        width, height = cos * obb[i, 2] + sin * obb[i, 3], sin * obb[i, 2] + cos * obb[i, 3]
        out[i, 0], out[i, 1] = obb[i, 0] - width / 2, obb[i, 1] - height / 2
        out[i, 2], out[i, 3] = width, height


def _by_left_side(hulls: FloatArray, offsets: IntArray) -> IntArray:
    """Return the objects group by group, in each from left to right."""
    group = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    ascending = descending_order(-hulls[:, 0], np.arange(len(hulls)))
    return counting_order(group, ascending, len(offsets) - 1)


def _some_candidates(*arguments: Any) -> tuple[IntArray, IntArray, FloatArray]:
    """Call ``_candidates`` with all of its arguments but the room; give it as much as it needs."""
    find: Any = _candidates
    *_, offsets, _, first, last = arguments
    size = 1024 + int(offsets[last] - offsets[first])
    while True:
        pairs, overlaps = np.empty((2, size), np.int64), np.empty(size)
        found = find(*arguments, pairs, overlaps, np.empty((2, 2, 8)))
        if found >= 0:
            return pairs[0, :found].copy(), pairs[1, :found].copy(), overlaps[:found].copy()
        size *= 2


@compiled(
    "i8(f8[:,:], f8[:,:], f8[:,:], i8[:], i8[:], u1[:], f8[:,:], f8[:,:], f8[:,:], i8[:], f8, i8,"
    " i8, i8[:,:], f8[:], f8[:,:,:])"
)
def _candidates(
    gt: FloatArray,
    gt_turns: FloatArray,
    gt_hulls: FloatArray,
    gt_offsets: IntArray,
    by_left: IntArray,
    crowd: BoolArray,
    dt: FloatArray,
    dt_turns: FloatArray,
    dt_hulls: FloatArray,
    dt_offsets: IntArray,
    threshold: float,
    first: int,
    last: int,
    pairs: IntArray,
    overlaps: FloatArray,
    buffer: FloatArray,
) -> int:
    """Find the candidates of groups [first, last) by scanning objects from left to right.

    ``gt_hulls`` stands in the order ``by_left``, everything else in the tables' order. ``pairs``
    (2, room) and ``overlaps`` are filled; returned is how many were found, -1 if the room is too
    small. ``buffer`` is scratch.
    """
    rotated = gt.shape[1] == 5
    found = 0
    for group in range(first, last):
        start, end = gt_offsets[group], gt_offsets[group + 1]
        if start == end:
            continue
        widest = 0.0
        for place in range(start, end):
            widest = max(widest, gt_hulls[place, 2])
        for d in range(dt_offsets[group], dt_offsets[group + 1]):
            mark = found
            left, right = dt_hulls[d, 0], dt_hulls[d, 0] + dt_hulls[d, 2]
            top, bottom = dt_hulls[d, 1], dt_hulls[d, 1] + dt_hulls[d, 3]
            place = _first_right_of(left - widest * (1 + 1e-9), gt_hulls, start, end) - 1
            while place + 1 < end and gt_hulls[place + 1, 0] < right:
                place += 1
                y = gt_hulls[place, 1]
                if y >= bottom or y + gt_hulls[place, 3] <= top:
                    continue
                g = by_left[place]
                inter = box_intersection(dt_hulls[d], gt_hulls[place])
                area_d, area_g = dt[d, 2] * dt[d, 3], gt[g, 2] * gt[g, 3]
                base = area_d if crowd[g] else area_d + area_g
                # Overlap >= threshold, solved for the intersection; hulls bound it from above.
                least = threshold * base * (1 - 1e-9)
                rise = 1.0 if crowd[g] else 1.0 + threshold
                if inter <= 0 or inter * rise < least:
                    continue
                if rotated:
                    bound = rotated_bound(gt[g], gt_turns[g], dt[d], dt_turns[d])
                    if bound * rise < least:
                        continue
                    inter = rotated_intersection(gt[g], gt_turns[g], dt[d], dt_turns[d], buffer)
                union = base if crowd[g] else base - inter
                iou = inter / union if union > 0 else 0.0
                if iou < threshold:
                    continue
                if found == len(overlaps):
                    return -1
                at = found  # keep the objects of a detection in their order
                while at > mark and pairs[1, at - 1] > g:
                    pairs[1, at], overlaps[at] = pairs[1, at - 1], overlaps[at - 1]
                    at -= 1
                pairs[0, found], pairs[1, at], overlaps[at] = d, g, iou
                found += 1
    return found


def _first_right_of(limit: float, hulls: FloatArray, start: int, end: int) -> int:
    """Return the first place in [start, end) whose box's left side is >= limit."""
    low, high = start, end
    while low < high:
        middle = (low + high) // 2
        if hulls[middle, 0] < limit:
            low = middle + 1
        else:
            high = middle
    return low


def match(
    objects: Table,
    candidates: Candidates,
    ignored: BoolArray,
    crowd: BoolArray,
    ious: FloatArray,
) -> Matches:
    """Match the candidates greedily at all thresholds and in all area ranges.

    Args:
        objects: in groups.
        candidates: of these objects.
        ignored: (G, A) the object does not count in the range.
        crowd: (G,) the object takes any number of detections; must be ignored everywhere.
        ious: (T,) thresholds, T <= 32.
    """
    limits = np.minimum(ious, 1 - 1e-10)
    pairs, ranges = len(candidates), ignored.shape[1]
    count = int(np.count_nonzero(np.diff(candidates.detection))) + (pairs > 0)
    detection = np.empty(count, np.int64)
    right, taken = np.zeros((2, count, ranges), np.uint32)
    target = np.full((count, len(limits)), -1, np.int32)
    _match(
        candidates.detection,
        candidates.target,
        candidates.overlap,
        ignored,
        crowd,
        limits,
        np.zeros(ignored.shape, np.uint32),
        np.zeros(pairs, np.uint32),
        detection,
        right,
        taken,
        target,
    )
    return Matches(detection, right, taken, target)


@compiled(
    "void(i8[:], i8[:], f8[:], u1[:,:], u1[:], f8[:], u4[:,:], u4[:], i8[:], u4[:,:], u4[:,:],"
    " i4[:,:])"
)
def _match(
    pair_dt: IntArray,
    pair_gt: IntArray,
    pair_iou: FloatArray,
    ignored: BoolArray,
    crowd: BoolArray,
    limits: FloatArray,
    gone: BitArray,
    reached: BitArray,
    detection: IntArray,
    right: BitArray,
    taken: BitArray,
    target: npt.NDArray[np.int32],
) -> None:
    """Run through the detections; a group's stand best first and see only their group.

    ``gone`` (G, A) and ``reached`` (P,) are scratch, all 0; the rest is filled, see ``Matches``.
    """
    ranges, thresholds, pairs = ignored.shape[1], len(limits), len(pair_dt)
    for p in range(pairs):
        for t in range(thresholds):
            if pair_iou[p] >= limits[t]:
                reached[p] |= np.uint32(1) << np.uint32(t)
    start = 0
    for row in range(len(detection)):
        end = start + 1
        while end < pairs and pair_dt[end] == pair_dt[start]:
            end += 1
        detection[row] = pair_dt[start]
        if end == start + 1:  # one candidate: all thresholds at once
            g, bits = pair_gt[start], reached[start]
            for a in range(ranges):
                free = bits if crowd[g] else bits & ~gone[g, a]
                gone[g, a] |= free
                taken[row, a] = free
                if not ignored[g, a]:
                    right[row, a] = free
                for t in range(thresholds if a == 0 else 0):
                    if free >> np.uint32(t) & np.uint32(1):
                        target[row, t] = g
            start = end
            continue
        for a in range(ranges):
            for t in range(thresholds):
                bit = np.uint32(1) << np.uint32(t)
                best, best_ignored = -1, np.uint8(0)
                for p in range(start, end):
                    g = pair_gt[p]
                    if not reached[p] & bit or (gone[g, a] & bit and not crowd[g]):
                        continue
                    if best >= 0:
                        if best_ignored == ignored[g, a]:
                            if pair_iou[p] < pair_iou[best]:
                                continue
                        elif ignored[g, a]:
                            continue
                    best, best_ignored = p, ignored[g, a]
                if best < 0:
                    continue
                gone[pair_gt[best], a] |= bit
                taken[row, a] |= bit
                if not best_ignored:
                    right[row, a] |= bit
                if a == 0:
                    target[row, t] = pair_gt[best]
        start = end
