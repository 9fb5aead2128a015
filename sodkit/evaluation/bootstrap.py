"""Metrics of resampled images, without matching again.

An image drawn w times is w copies of it: w times its objects, and its detections w times in a row.
Matching never looks beyond an image, so copies share its matches and only the counting along the
scores is done again, with weights. The result is what ``evaluate`` gives on data that really hold
the copies next to their original (images are ordered by id; the order only matters for equal
scores).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sodkit.arrays import BitArray, FloatArray, IntArray
from sodkit.compiled import compiled
from sodkit.evaluation.curves import draw_one
from sodkit.evaluation.evaluate import Matching
from sodkit.evaluation.matching import THREADS
from sodkit.evaluation.outcomes import table_groups
from sodkit.evaluation.protocol import Metric, Protocol
from sodkit.threads import map_in_order

Weights = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Ordered:
    """Detections within a limit, class by class, best first; images as ranks of their ids.

    Attributes:
        offsets: (K + 1,) class k is [offsets[k], offsets[k + 1]).
        image: (N,) rank of the image.
        run: (N,) where a run of one image's equal scores starts, its length; else 0.
        counted: (N,) bit a: wrong in range a if it matches nothing.
        row: (N,) row of the matches, -1: matched nothing.
    """

    offsets: IntArray
    image: IntArray
    run: IntArray
    counted: BitArray
    row: IntArray


def draw_images(images: int, resamples: int, seed: int) -> Weights:
    """Return how often each image is drawn, (resamples, images), each row drawn with replacement.

    Raises:
        ValueError: there is no image.
    """
    generator = np.random.default_rng(seed)
    weights = np.empty((resamples, images), np.int32)
    for row in weights:
        row[:] = np.bincount(generator.integers(images, size=images), minlength=images)
    return weights


def resampled_metrics(
    matching: Matching,
    scores: FloatArray,
    protocol: Protocol,
    weights: Weights,
    progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Return the protocol's metrics (B, metrics) of each resample; NaN where undefined.

    Args:
        matching: of all classes, under ``protocol``.
        scores: (detections,) of the detections that were matched, in their own order.
        protocol: names the metrics.
        weights: (B, I) how often each image is drawn; images in ascending order of their ids.
        progress: called with resamples done and all of them.
    """
    objects = _objects_by_image(matching, weights.shape[1])
    positives = _weighted(weights, objects.reshape(len(objects), math.prod(objects.shape[1:])))
    positives = positives.reshape(len(weights), *objects.shape[1:])
    values = np.full((len(weights), len(protocol.metrics)), np.nan)
    for index, metric in enumerate(protocol.metrics):
        if metric.kind == "AR":
            values[:, index] = _recalls(matching, metric, protocol, weights, positives)
    limits = sorted({metric.max_dets for metric in protocol.metrics if metric.kind == "AP"})
    total = len(limits) * len(weights)
    for number, limit in enumerate(limits):
        columns = [
            index
            for index, metric in enumerate(protocol.metrics)
            if metric.kind == "AP" and metric.max_dets == limit
        ]
        ordered = order_detections(matching, scores, limit)

        def one(b: int, ordered: Ordered = ordered, columns: list[int] = columns) -> None:
            table = _precision(ordered, matching, protocol, weights[b], positives[b])
            for index in columns:
                values[b, index] = _average(table, protocol.metrics[index], protocol)

        for b, _ in enumerate(map_in_order(one, range(len(weights)), THREADS)):
            if progress is not None:
                progress(number * len(weights) + b + 1, total)
    return values


def order_detections(matching: Matching, scores: FloatArray, limit: int) -> Ordered:
    """Sort the detections within a limit as the curves count them.

    Args:
        matching: of all classes.
        scores: (detections,) in their own order.
        limit: detections an image and class.
    """
    table = matching.detections
    group = table_groups(table)
    place = np.flatnonzero(np.arange(len(table)) - table.offsets[group] < limit)
    label = group[place] % max(table.classes, 1)
    score = scores[table.rows[place]]
    order = np.lexsort((-score, label))  # stable: what is equal stays image by image
    place, label, score = place[order], label[order], score[order]
    image = group[place] // max(table.classes, 1)
    new = np.ones(len(place), np.bool_)
    new[1:] = (np.diff(label) != 0) | (np.diff(image) != 0) | (score[1:] != score[:-1])
    starts = np.flatnonzero(new)
    run = np.zeros(len(place), np.int64)
    run[starts] = np.diff(np.append(starts, len(place)))
    row_of = np.full(len(table), -1, np.int64)
    row_of[matching.matches.detection] = np.arange(len(matching.matches.detection))
    offsets = np.searchsorted(label, np.arange(table.classes + 1)).astype(np.int64)
    return Ordered(offsets, image, run, matching.counted[place], row_of[place])


def _objects_by_image(matching: Matching, images: int) -> FloatArray:
    """Return how many objects count, (I, K, A)."""
    table = matching.objects
    ranges = matching.ignored.shape[1]
    counts = np.zeros((images * table.classes, ranges))
    np.add.at(counts, table_groups(table), ~matching.ignored)
    return counts.reshape(images, table.classes, ranges)


def _weighted(weights: Weights, counts: FloatArray) -> FloatArray:
    """Return weights @ counts; whole numbers below 2**53, so floats lose nothing."""
    return np.asarray(weights.astype(np.float64) @ counts)


def _recalls(
    matching: Matching,
    metric: Metric,
    protocol: Protocol,
    weights: Weights,
    positives: FloatArray,
) -> FloatArray:
    """Return an AR (B,): recall is linear in the images' counts."""
    table, matches = matching.detections, matching.matches
    a = protocol.area_index(metric.area)
    thresholds = protocol.iou_indices(metric.iou)
    group = table_groups(table)[matches.detection]
    within = matches.detection - table.offsets[group] < metric.max_dets
    right = matches.right[within, a]
    true = np.zeros((len(thresholds), weights.shape[1] * table.classes))
    for place, t in enumerate(thresholds):
        hit = (right & (np.uint32(1) << np.uint32(t))) != 0
        true[place] = np.bincount(group[within][hit], minlength=true.shape[1])
    by_image = true.reshape(len(thresholds), weights.shape[1], table.classes)
    found = np.stack([_weighted(weights, one) for one in by_image], axis=1)
    asked = np.broadcast_to(positives[:, None, :, a], found.shape)
    recall = np.divide(found, asked, out=np.full(found.shape, np.nan), where=asked > 0)
    return np.array([_defined_mean(one) for one in recall])


def _average(precision: FloatArray, metric: Metric, protocol: Protocol) -> float:
    a = protocol.area_index(metric.area)
    return _defined_mean(precision[..., a][protocol.iou_indices(metric.iou)])


def _defined_mean(values: FloatArray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _precision(
    ordered: Ordered,
    matching: Matching,
    protocol: Protocol,
    weights: Weights,
    positives: FloatArray,
) -> FloatArray:
    """Return the precision (T, R, K, A) of one resample, as ``Curves`` has it."""
    shape = (len(protocol.ious), len(protocol.recalls), *positives.shape)
    out = np.full(shape, np.nan)
    ranges = positives.shape[1]
    size = int(np.maximum(1, weights[ordered.image[ordered.row >= 0]]).sum())
    _draw(
        weights,
        ordered.offsets,
        ordered.image,
        ordered.run,
        ordered.counted,
        ordered.row,
        matching.matches.right,
        matching.matches.taken,
        positives,
        np.array(protocol.recalls),
        out,
        np.empty((2, ranges, size), np.uint32),
        np.empty((2, ranges, size), np.int64),
        np.empty((ranges, size), np.uint8),
        np.empty(size, np.int64),
        np.empty(size),
        np.empty(size, np.int64),
        np.empty(len(protocol.recalls), np.int64),
        np.empty((2, ranges), np.int64),
    )
    return out


@compiled(
    "void(i4[:], i8[:], i8[:], i8[:], u4[:], i8[:], u4[:,:], u4[:,:], f8[:,:], f8[:],"
    " f8[:,:,:,:], u4[:,:,:], i8[:,:,:], u1[:,:], i8[:], f8[:], i8[:], i8[:], i8[:,:])"
)
def _draw(
    weights: Weights,
    offsets: IntArray,
    image: IntArray,
    run: IntArray,
    counted: BitArray,
    row: IntArray,
    right: BitArray,
    taken: BitArray,
    positives: FloatArray,
    recalls: FloatArray,
    out: FloatArray,
    bits: npt.NDArray[np.uint32],
    numbers: IntArray,
    own: npt.NDArray[np.uint8],
    true: IntArray,
    peaks: FloatArray,
    at: IntArray,
    reached: IntArray,
    sums: IntArray,
) -> None:
    """Fill the precision (T, R, K, A) of one resample; see ``Ordered`` for the columns.

    Equal scores of one image stand in a run, and copies of an image repeat the whole run. A run of
    one is walked through once, with its weight: its last copy has the highest precision.
    The arguments behind ``out`` are scratch.
    """
    ranges = positives.shape[1]
    # The entries of each range, in one piece: only hits that can make a difference there.
    entry_right, entry_taken, weight, wrong = bits[0], bits[1], numbers[0], numbers[1]
    false, entries = sums[0], sums[1]
    for k in range(len(offsets) - 1):
        for a in range(ranges):
            entries[a] = false[a] = 0
        i = offsets[k]
        while i < offsets[k + 1]:
            copies = np.int64(weights[image[i]])
            repeats, each = copies, np.int64(1)
            if run[i] == 1 and copies > 1:
                repeats, each = each, repeats
            for _ in range(repeats):
                for j in range(i, i + run[i]):
                    for a in range(ranges):
                        counts = (counted[j] >> np.uint32(a)) & np.uint32(1)
                        false[a] += each * np.int64(counts)
                        r = row[j]
                        if r < 0 or not (right[r, a] or (counts and taken[r, a])):
                            continue
                        e = entries[a]
                        entry_right[a, e], entry_taken[a, e] = right[r, a], taken[r, a]
                        weight[a, e], wrong[a, e], own[a, e] = each, false[a], counts
                        entries[a] += 1
            i += run[i]
        for a in range(ranges):
            if positives[k, a] == 0:
                continue
            for t in range(len(out)):
                draw_one(
                    entries[a],
                    weight[a],
                    wrong[a],
                    own[a],
                    entry_right[a],
                    entry_taken[a],
                    np.uint32(1) << np.uint32(t),
                    positives[k, a],
                    recalls,
                    true,
                    peaks,
                    at,
                    out[t, :, k, a],
                    reached,
                )
