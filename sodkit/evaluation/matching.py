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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from sodkit.data.records import BoolArray, FloatArray, IntArray
from sodkit.evaluation.tables import DetectionTable, Table
from sodkit.geometry.overlap import box_intersection, rotated_intersection

BitArray = npt.NDArray[np.uint32]
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
    """What became of the detections that have a candidate.

    Attributes:
        detection: (D,) positions in the detection table, ascending.
        right: (D, A) bit t: matched, at threshold t, an object that counts.
        taken: (D, A) bit t: matched any object, also an ignored one.
        target: (D, T) position in the object table of the match in the first area range, -1: none.
    """

    detection: IntArray
    right: BitArray
    taken: BitArray
    target: IntArray


def find_candidates(
    objects: Table,
    detections: DetectionTable,
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
    work = partial(
        _candidates,
        objects.boxes,
        objects.offsets,
        crowd,
        detections.boxes,
        detections.offsets,
        threshold,
    )
    parts = []
    with ThreadPoolExecutor(THREADS) as pool:
        for part, end in zip(pool.map(work, bounds[:-1], bounds[1:]), bounds[1:], strict=True):
            parts.append(part)
            if progress is not None:
                progress(int(end), groups)
    return Candidates(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _chunks(objects: IntArray, detections: IntArray) -> list[int]:
    """Return bounds of runs of groups with about the same work."""
    load = objects + detections
    targets = np.linspace(0, load[-1], _CHUNKS + 1)
    inner = np.searchsorted(load, targets[1:-1])
    return [0, *np.maximum.accumulate(inner).tolist(), len(load) - 1]


@numba.njit(cache=True, nogil=True)
def _candidates(
    gt: FloatArray,
    gt_offsets: IntArray,
    crowd: BoolArray,
    dt: FloatArray,
    dt_offsets: IntArray,
    threshold: float,
    first: int,
    last: int,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Find the candidates of groups [first, last): sort objects by left side, scan a window."""
    rotated = gt.shape[1] == 5
    size = 1024
    pair_dt, pair_gt, pair_iou = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    found = 0
    buffer = np.empty((2, 2, 8))
    box = np.empty(4)
    for group in range(first, last):
        start, end = gt_offsets[group], gt_offsets[group + 1]
        if start == end or dt_offsets[group] == dt_offsets[group + 1]:
            continue
        hulls = np.empty((end - start, 4))
        widest = 0.0
        for g in range(start, end):
            _enclose(gt[g], rotated, hulls[g - start])
            widest = max(widest, hulls[g - start, 2])
        by_left = np.argsort(hulls[:, 0])
        lefts = hulls[by_left, 0]
        for d in range(dt_offsets[group], dt_offsets[group + 1]):
            _enclose(dt[d], rotated, box)
            mark = found
            place = np.searchsorted(lefts, box[0] - widest * (1 + 1e-9))
            while place < len(lefts) and lefts[place] < box[0] + box[2]:
                g = start + by_left[place]
                hull = box_intersection(box, hulls[by_left[place]])
                place += 1
                if hull <= 0:
                    continue
                iou = _overlap(dt[d], gt[g], hull, crowd[g], rotated, threshold, buffer)
                if iou < threshold:
                    continue
                if found == size:
                    size *= 2
                    pair_dt, pair_gt = _grow(pair_dt, size), _grow(pair_gt, size)
                    pair_iou = _grow(pair_iou, size)
                at = found  # keep the objects of a detection in their order
                while at > mark and pair_gt[at - 1] > g:
                    pair_gt[at], pair_iou[at] = pair_gt[at - 1], pair_iou[at - 1]
                    at -= 1
                pair_dt[found], pair_gt[at], pair_iou[at] = d, g, iou
                found += 1
    return pair_dt[:found].copy(), pair_gt[:found].copy(), pair_iou[:found].copy()


@numba.njit(cache=True, nogil=True)
def _grow(array: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """Return a copy with room for ``size`` elements."""
    out = np.empty(size, array.dtype)
    out[: len(array)] = array
    return out


@numba.njit(cache=True, nogil=True)
def _enclose(row: FloatArray, rotated: bool, out: FloatArray) -> None:
    """Write the enclosing xywh of a box."""
    if rotated:
        cos, sin = abs(np.cos(row[4])), abs(np.sin(row[4]))
        width, height = cos * row[2] + sin * row[3], sin * row[2] + cos * row[3]
        out[0], out[1] = row[0] - width / 2, row[1] - height / 2
        out[2], out[3] = width, height
    else:
        out[:] = row[:4]


@numba.njit(cache=True, nogil=True)
def _overlap(
    d: FloatArray,
    g: FloatArray,
    hull: float,
    crowd: bool,
    rotated: bool,
    threshold: float,
    buffer: FloatArray,
) -> float:
    """Return the overlap of two boxes, or 0 if the enclosing boxes show that it is too small.

    Args:
        d: the detection, xywh or obb.
        g: the object.
        hull: intersection of the enclosing boxes, for upright boxes that of the boxes.
        crowd: measure the share of ``d`` inside.
        rotated: the boxes are oriented.
        threshold: overlaps below it do not matter.
        buffer: scratch of ``rotated_intersection``.
    """
    area_d, area_g = d[2] * d[3], g[2] * g[3]
    inter = hull
    if rotated:
        most = min(hull, area_d, area_g) * (1 + 1e-9)
        if not crowd and most < threshold * (area_d + area_g - most):
            return 0.0
        inter = rotated_intersection(g, d, buffer)
        if inter <= 0:
            return 0.0
    union = area_d if crowd else area_d + area_g - inter
    return inter / union if union > 0 else 0.0


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
    detection, right, taken, target = _match(
        candidates.detection,
        candidates.target,
        candidates.overlap,
        len(objects.rows),
        ignored,
        crowd,
        limits,
    )
    return Matches(detection, right, taken, target)


@numba.njit(cache=True, nogil=True)
def _match(
    pair_dt: IntArray,
    pair_gt: IntArray,
    pair_iou: FloatArray,
    objects: int,
    ignored: BoolArray,
    crowd: BoolArray,
    limits: FloatArray,
) -> tuple[IntArray, BitArray, BitArray, IntArray]:
    """Run through the detections; a group's stand best first and see only their group."""
    ranges, thresholds = ignored.shape[1], len(limits)
    pairs = len(pair_dt)
    count = 0
    for p in range(pairs):
        count += p == 0 or pair_dt[p] != pair_dt[p - 1]
    detection = np.empty(count, np.int64)
    right = np.zeros((count, ranges), np.uint32)
    taken = np.zeros((count, ranges), np.uint32)
    target = np.full((count, thresholds), -1, np.int64)
    gone = np.zeros((objects, ranges), np.uint32)
    reached = np.zeros(pairs, np.uint32)
    for p in range(pairs):
        for t in range(thresholds):
            if pair_iou[p] >= limits[t]:
                reached[p] |= np.uint32(1) << np.uint32(t)
    start = 0
    for row in range(count):
        end = start + 1
        while end < pairs and pair_dt[end] == pair_dt[start]:
            end += 1
        detection[row] = pair_dt[start]
        for a in range(ranges):
            for t in range(thresholds):
                bit = np.uint32(1) << np.uint32(t)
                best, best_ignored = -1, False
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
    return detection, right, taken, target
