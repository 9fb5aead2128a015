"""From matches to precision and recall, without walking through every detection per threshold.

Precision can only peak where a detection is right, so a curve needs the ranks of the matched
detections alone. False positives before a rank are counted once per area range and limit as if
nothing were matched; the matched ones are taken off again, threshold by threshold.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np

from sodkit.data.records import BoolArray, FloatArray, IntArray
from sodkit.evaluation.matching import THREADS, BitArray, Matches
from sodkit.evaluation.protocol import Protocol
from sodkit.evaluation.tables import DetectionTable


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


def draw_curves(
    detections: DetectionTable,
    scores: FloatArray,
    matches: Matches,
    counted: BoolArray,
    positives: IntArray,
    protocol: Protocol,
) -> Curves:
    """Return the curves of all classes.

    Args:
        detections: K classes.
        scores: (N,) of the table's detections.
        matches: of these detections.
        counted: (N, A) the detection is wrong in the range if it matches nothing.
        positives: (K, A) objects that count.
        protocol: gives recall points and limits.
    """
    shape = (len(protocol.ious), *positives.shape, len(protocol.max_dets))
    t, k, a, m = shape
    recall = np.full(shape, np.nan)
    precision = np.full((t, len(protocol.recalls), k, a, m), np.nan)
    score = np.full_like(precision, np.nan)
    match_of = np.full(len(detections.rows), -1, np.int64)
    match_of[matches.detection] = np.arange(len(matches.detection))

    def draw(one: int) -> None:
        order = detections.order[detections.class_offsets[one] : detections.class_offsets[one + 1]]
        _draw_class(
            order,
            detections.rank,
            scores,
            match_of,
            matches.right,
            matches.taken,
            counted,
            positives[one],
            np.array(protocol.max_dets, np.int64),
            np.array(protocol.recalls),
            precision[:, :, one],
            recall[:, one],
            score[:, :, one],
        )

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(draw, range(k)))
    return Curves(precision, recall, score)


@numba.njit(cache=True, nogil=True)
def _draw_class(
    order: IntArray,
    rank: IntArray,
    scores: FloatArray,
    match_of: IntArray,
    right: BitArray,
    taken: BitArray,
    counted: BoolArray,
    positives: IntArray,
    limits: IntArray,
    recalls: FloatArray,
    precision: FloatArray,
    recall: FloatArray,
    score: FloatArray,
) -> None:
    """Fill one class: precision (T, R, A, M), recall (T, A, M), score (T, R, A, M)."""
    deepest = 0
    matched = 0
    for d in order:
        deepest = max(deepest, rank[d] + 1)
        matched += match_of[d] >= 0
    hits = np.empty(matched, np.int64)
    wrong = np.empty(matched, np.int64)
    for a in range(len(positives)):
        if positives[a] == 0:
            continue
        for m in range(len(limits)):
            if m > 0 and limits[m - 1] >= deepest:  # no group is longer: nothing changes
                precision[:, :, a, m] = precision[:, :, a, m - 1]
                recall[:, a, m] = recall[:, a, m - 1]
                score[:, :, a, m] = score[:, :, a, m - 1]
                continue
            found, false = 0, 0
            for d in order:
                if rank[d] >= limits[m]:
                    continue
                false += counted[d, a]
                if match_of[d] >= 0:
                    hits[found], wrong[found] = d, false
                    found += 1
            for t in range(len(recall)):
                recall[t, a, m] = _draw_one(
                    hits[:found],
                    wrong[:found],
                    scores,
                    match_of,
                    right[:, a],
                    taken[:, a],
                    counted[:, a],
                    t,
                    positives[a],
                    recalls,
                    precision[t, :, a, m],
                    score[t, :, a, m],
                )


@numba.njit(cache=True, nogil=True)
def _draw_one(
    hits: IntArray,
    wrong: IntArray,
    scores: FloatArray,
    match_of: IntArray,
    right: BitArray,
    taken: BitArray,
    counted: BoolArray,
    threshold: int,
    positives: int,
    recalls: FloatArray,
    precision: FloatArray,
    score: FloatArray,
) -> float:
    """Fill one curve at the recall points and return the recall it ends at.

    Args:
        hits: detections with a match, best first.
        wrong: false positives up to each, were nothing matched.
        scores: of all detections.
        match_of: row of each detection's match, -1: none.
        right: bits by match.
        taken: bits by match.
        counted: by detection: wrong if it matches nothing.
        threshold: index of the IoU threshold.
        positives: objects, > 0.
        recalls: (R,) recall points.
        precision: (R,) to fill.
        score: (R,) to fill.
    """
    bit = np.uint32(1) << np.uint32(threshold)
    peaks, at = np.empty(len(hits)), np.empty(len(hits))
    true, matched = 0, 0
    for i in range(len(hits)):
        d = hits[i]
        row = match_of[d]
        if not taken[row] & bit:
            continue
        matched += counted[d]
        if right[row] & bit:
            true += 1
            false = wrong[i] - matched
            peaks[true - 1] = true / (false + true + 2.220446049250313e-16)
            at[true - 1] = scores[d]
    for i in range(true - 1, 0, -1):
        peaks[i - 1] = max(peaks[i - 1], peaks[i])
    i = 0
    for r in range(len(recalls)):
        while i < true and (i + 1) / positives < recalls[r]:
            i += 1
        precision[r] = peaks[i] if i < true else 0.0
        score[r] = at[i] if i < true else 0.0
    return true / positives
