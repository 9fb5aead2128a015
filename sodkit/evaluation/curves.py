"""From matches to precision and recall, without walking through every detection per threshold.

Precision can only peak where a detection is right, so a curve needs the ranks of the matched
detections alone. False positives before a rank are counted once per area range and limit as if
nothing were matched; the matched ones are taken off again, threshold by threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sodkit.arrays import BitArray, FloatArray, IntArray
from sodkit.compiled import compiled
from sodkit.evaluation.matching import THREADS, Matches
from sodkit.evaluation.protocol import Protocol
from sodkit.evaluation.tables import Table, counting_order
from sodkit.threads import map_in_order


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Precision and recall; NaN where a class has no object in the area range.

    Axes: T thresholds, R recall points, K classes, A area ranges, M limits, as in the protocol.

    Attributes:
        precision: (T, R, K, A, M) best precision at this recall or more; 0 where not reached.
        recall: (T, K, A, M) the recall reached.
        score: (T, R, K, A, M) score at which the recall is reached; 0 where not reached.
    """

    precision: FloatArray
    recall: FloatArray
    score: FloatArray

    def __repr__(self) -> str:
        ious, recalls, classes, areas, limits = self.precision.shape
        return (
            f"<Curves: {ious} IoUs, {recalls} recalls, {classes} classes, {areas} area ranges, "
            f"{limits} limits>"
        )


def draw_curves(
    detections: Table,
    scores: FloatArray,
    matches: Matches,
    counted: BitArray,
    positives: IntArray,
    protocol: Protocol,
) -> Curves:
    """Return the curves of all classes.

    Args:
        detections: K classes.
        scores: (N,) of the table's detections.
        matches: of these detections.
        counted: (N,) bit a: the detection is wrong in range a if it matches nothing.
        positives: (K, A) objects that count.
        protocol: gives recall points and limits.
    """
    classes, ranges = positives.shape
    thresholds, ends = len(protocol.ious), (ranges, len(protocol.max_dets))
    recall = np.full((classes, thresholds, *ends), np.nan)
    precision = np.full((classes, thresholds, len(protocol.recalls), *ends), np.nan)
    score = np.full_like(precision, np.nan)
    match_of = np.full(len(detections), -1, np.int32)
    match_of[matches.detection] = np.arange(len(matches.detection), dtype=np.int32)
    limits, recalls = np.array(protocol.max_dets, np.int64), np.array(protocol.recalls)

    sizes = np.diff(detections.offsets)
    label = np.repeat(np.arange(len(sizes)) % max(classes, 1), sizes)
    by_class = counting_order(label, detections.order, classes)
    of_class = sizes.reshape(-1, max(classes, 1)).sum(axis=0)
    starts = np.concatenate([[0], np.cumsum(of_class)])
    ranks = np.arange(len(detections)) - np.repeat(detections.offsets[:-1], sizes)

    def draw(one: int) -> None:
        place = by_class[starts[one] : starts[one + 1]]
        row = match_of[place]
        hit = row[row >= 0]
        _draw_class(
            ranks[place],
            row,
            counted[place],
            scores[place[row >= 0]],
            np.ascontiguousarray(matches.right[hit].T),
            np.ascontiguousarray(matches.taken[hit].T),
            positives[one],
            limits,
            recalls,
            precision[one],
            recall[one],
            score[one],
            np.empty((ranges, len(hit)), np.int32),
            np.empty((ranges, len(hit)), np.uint8),
            np.ones((3, len(hit)), np.int64),
            np.empty(len(hit)),
            np.empty(len(recalls), np.int64),
            np.empty(ranges, np.int32),
        )

    for _ in map_in_order(draw, range(classes), THREADS):
        pass
    return Curves(np.moveaxis(precision, 0, 2), np.moveaxis(recall, 0, 1), np.moveaxis(score, 0, 2))


@compiled(
    "void(i8[:], i4[:], u4[:], f8[:], u4[:,:], u4[:,:], i8[:], i8[:], f8[:], f8[:,:,:,:],"
    " f8[:,:,:], f8[:,:,:,:], i4[:,:], u1[:,:], i8[:,:], f8[:], i8[:], i4[:])"
)
def _draw_class(
    rank: IntArray,
    row: npt.NDArray[np.int32],
    counted: BitArray,
    scores: FloatArray,
    right: BitArray,
    taken: BitArray,
    positives: IntArray,
    limits: IntArray,
    recalls: FloatArray,
    precision: FloatArray,
    recall: FloatArray,
    score: FloatArray,
    wrong: npt.NDArray[np.int32],
    own: npt.NDArray[np.uint8],
    room: IntArray,
    peaks: FloatArray,
    reached: IntArray,
    false: npt.NDArray[np.int32],
) -> None:
    """Fill one class: precision (T, R, A, M), recall (T, A, M), score (T, R, A, M).

    Args:
        rank: (n,) place in the group, of the class's detections, best first.
        row: (n,) negative: matched nothing. The others are the *hits*.
        counted: (n,) bits.
        scores: (h,) of the hits.
        right: (A, h) bits of the hits.
        taken: (A, h) bits of the hits.
        positives: (A,) objects.
        limits: (M,) detections a group.
        recalls: (R,) recall points.
        precision: to fill.
        recall: to fill.
        score: to fill.
        wrong: (A, h) scratch: false positives up to each hit, were nothing matched; -1: beyond.
        own: (A, h) scratch: the hit itself is among them.
        room: (3, h) ones, and two rows of scratch.
        peaks: (h,) scratch.
        reached: (R,) scratch.
        false: (A,) scratch.
    """
    ranges, deepest = len(positives), 0
    for i in range(len(rank)):
        deepest = max(deepest, rank[i] + 1)
    for m in range(len(limits)):
        same = m > 0 and limits[m - 1] >= deepest  # no group is longer: nothing changes
        found = 0
        for a in range(ranges):
            false[a] = 0
        for i in range(0 if same else len(rank)):
            within = rank[i] < limits[m]
            bits = counted[i]
            if within:
                for a in range(ranges):
                    false[a] += np.int32((bits >> np.uint32(a)) & np.uint32(1))
            if row[i] >= 0:
                for a in range(ranges):
                    wrong[a, found] = false[a] if within else -1
                    own[a, found] = (bits >> np.uint32(a)) & np.uint32(1)
                found += 1
        for a in range(ranges):
            if positives[a] == 0:
                continue
            for t in range(len(recall)):
                if not same:
                    recall[t, a, m] = draw_one(
                        found, room[0], wrong[a], own[a], right[a], taken[a],
                        np.uint32(1) << np.uint32(t), positives[a], recalls, room[1], peaks,
                        room[2], precision[t, :, a, m], reached,
                    )  # fmt: skip
                    for r in range(len(recalls)):
                        hit = reached[r]
                        score[t, r, a, m] = scores[hit] if hit >= 0 else 0.0
                    continue
                recall[t, a, m] = recall[t, a, m - 1]
                for r in range(len(recalls)):
                    precision[t, r, a, m] = precision[t, r, a, m - 1]
                    score[t, r, a, m] = score[t, r, a, m - 1]


def draw_one(
    entries: int,
    weight: IntArray,
    wrong: npt.NDArray[np.int32],
    own: npt.NDArray[np.uint8],
    right: BitArray,
    taken: BitArray,
    bit: np.uint32,
    positives: float,
    recalls: FloatArray,
    true: IntArray,
    peaks: FloatArray,
    at: IntArray,
    precision: FloatArray,
    reached: IntArray,
) -> float:
    """Fill one curve at the recall points and return the recall it ends at; to be compiled.

    False positives up to a hit are those were nothing matched, less those that this threshold
    matched.

    Args:
        entries: hits that are looked at.
        weight: (h,) how often each hit counts.
        wrong: (h,) false positives up to each hit, were nothing matched; -1: it does not count.
        own: (h,) the hit itself is among them.
        right: (h,) bits.
        taken: (h,) bits.
        bit: of the IoU threshold.
        positives: objects, > 0.
        recalls: (R,) recall points.
        true: (h,) scratch: true positives up to each peak.
        peaks: (h,) scratch: precision at each true positive.
        at: (h,) scratch: which hit it is.
        precision: (R,) to fill.
        reached: (R,) to fill: the hit at which the recall is reached, -1: it is not.
    """
    found, points, matched = 0, 0, 0
    for i in range(entries):
        if not taken[i] & bit or wrong[i] < 0:
            continue
        if own[i]:
            matched += weight[i]
        if right[i] & bit:
            found += weight[i]
            false = wrong[i] - matched
            true[points], at[points] = found, i
            peaks[points] = found / (false + found + 2.220446049250313e-16)
            points += 1
    for i in range(points - 1, 0, -1):
        peaks[i - 1] = max(peaks[i - 1], peaks[i])
    i = 0
    for r in range(len(recalls)):
        while i < points and true[i] / positives < recalls[r]:
            i += 1
        precision[r] = peaks[i] if i < points else 0.0
        reached[r] = at[i] if i < points else -1
    return found / positives
