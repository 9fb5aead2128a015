"""How many positives an object gets from the assigners of dense detectors and proposal networks.

Each object is counted as if it were alone: where several want the same anchor, training gives it to
one of them, and the others get fewer. Its centre lies inside of its image. Nothing is made for the
whole grid: a location far from an object is no positive of it, so a few locations around it are
looked at. Time and memory are linear in the number of objects. The rules are those of the
detectors' matchers in ``models/``, which the tests compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sodkit.analysis.anchor_grid import best_iou, blocks, count_anchors, local_iou
from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.settings.anchor_levels import AnchorLevel
from sodkit.settings.proposers import Metric, ReceptiveMatching

BLOCK_CELLS = 10_000_000
SAME = 1e-6
"""Relative difference up to which two numbers may be one: the detectors compute in float32."""


def count_matched(
    boxes: FloatArray,
    extents: FloatArray,
    levels: Sequence[AnchorLevel],
    positive: float,
    low_quality: float | None,
    *,
    by_location: bool = False,
) -> IntArray:
    """Count the positives (N,) of max-IoU assignment (RPN, RetinaNet, the shapes of GA-RPN).

    Ties are those of float32, in which the detectors compute: a small object inside of several
    anchors of one size overlaps all of them equally but for rounding.

    Args:
        boxes: (N, 4) xyxy in px of the resized image, sides > 0.
        extents: (N, 2) width and height of each box's resized (and padded) image.
        levels: the anchors.
        positive: least IoU of a positive.
        low_quality: an object whose best IoU is lower takes its best anchors, from this IoU on;
            None: it does not.
        by_location: all anchors of a location count as one, with the best of their IoUs (guided
            anchoring, Wang et al., CVPR 2019, Sec. 3.4).
    """
    best = best_iou(boxes, extents, tuple(levels))
    least = np.minimum(best, positive) * (1 - SAME)  # what is lower is neither reached nor best
    top, tied = np.zeros(len(boxes), np.float32), np.zeros(len(boxes), np.int64)
    reached = tied.copy()
    for stride, sizes in _kinds(levels, by_location):
        reach = (max(w for w, _ in sizes), max(h for _, h in sizes))
        for rows in blocks(boxes, _possible(boxes, sizes, least), reach, stride):
            box, extent = boxes[rows], extents[rows]
            iou = np.max(
                [local_iou(box, extent, size, stride, reach, single=True) for size in sizes],
                axis=0,
            )
            highest = iou.max(axis=(1, 2))
            many = (iou == highest[:, None, None]).sum(axis=(1, 2))
            kept = np.where(highest < top[rows], 0, many)
            tied[rows] = np.where(highest <= top[rows], tied[rows], 0) + kept
            top[rows] = np.maximum(top[rows], highest)
            reached[rows] += (iou >= np.float32(positive)).sum(axis=(1, 2))
    takes = (top > 0) & (top >= (np.inf if low_quality is None else low_quality))
    return np.where(top >= np.float32(positive), reached, np.where(takes, tied, 0))


def _kinds(
    levels: Sequence[AnchorLevel], by_location: bool
) -> Iterator[tuple[int, tuple[tuple[float, float], ...]]]:
    """Yield stride and sizes of the anchors that are looked at together."""
    for level in levels:
        if by_location:
            yield level.stride, level.sizes
        else:
            yield from ((level.stride, (size,)) for size in level.sizes)


def _possible(
    boxes: FloatArray, sizes: Sequence[tuple[float, float]], least: FloatArray
) -> IntArray:
    """Return the rows whose IoU with anchors of a size can reach ``least``.

    It is at most the smaller area over the larger.
    """
    areas, own = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None], np.prod(sizes, axis=1)
    bound = (np.minimum(areas, own) / np.maximum(areas, own)).max(axis=1)
    return np.flatnonzero(bound >= least)


def count_thresholded(
    boxes: FloatArray,
    extents: FloatArray,
    levels: Sequence[AnchorLevel],
    thresholds: FloatArray,
    match_best: bool,
) -> IntArray:
    """Count the positives (N,) of the coarse stage of CRPN (CFINet, Eq. 1).

    Args:
        boxes: as in ``count_matched``.
        extents: as there.
        levels: the anchors.
        thresholds: (N,) least IoU of a positive, > 0.
        match_best: an object without a positive takes one anchor, if any overlaps it.
    """
    counts = count_anchors(boxes, extents, tuple(levels), thresholds[:, None])[:, 0]
    if not match_best:
        return counts
    overlapped = best_iou(boxes, extents, tuple(levels)) > 0
    return np.where((counts == 0) & overlapped, 1, counts)


def count_points(
    boxes: FloatArray,
    extents: FloatArray,
    strides: Sequence[int],
    ranges: Sequence[tuple[float, float]],
    radius: float,
) -> IntArray:
    """Count the positive points (N,) of FCOS (Tian et al., ICCV 2019) with centre sampling.

    A point ((column + .5) * stride, (row + .5) * stride) is positive inside the box and less than
    ``radius`` strides from its centre along x and y, if the largest of its distances to the four
    sides is in the range of its level.

    Args:
        boxes: as in ``count_matched``.
        extents: as there.
        strides: of the levels.
        ranges: least and largest distance in px of each level, both included.
        radius: of the centre region in strides.
    """
    reach = math.ceil(radius)

    def count(rows: slice) -> IntArray:
        box, extent = boxes[rows, None, None], extents[rows]
        middle = (boxes[rows, :2] + boxes[rows, 2:]) / 2
        total = np.zeros(len(middle), dtype=np.int64)
        for stride, (least, most) in zip(strides, ranges, strict=True):
            points, real = _around(middle / stride - 0.5, extent, stride, reach)
            points = (points + 0.5) * stride
            sides = np.concatenate([points - box[..., :2], box[..., 2:] - points], axis=-1)
            near = np.abs(points - middle[:, None, None]) < radius * stride
            largest = sides.max(axis=-1)
            within = (sides > 0).all(axis=-1) & near.all(axis=-1)
            within &= (largest >= least) & (largest <= most) & real
            total += within.sum(axis=(1, 2))
        return total

    return _in_blocks(len(boxes), 4 * (2 * reach + 1) ** 2, count)


def count_adaptive(
    boxes: FloatArray, extents: FloatArray, levels: Sequence[AnchorLevel], candidates: int
) -> IntArray:
    """Count the positives (N,) of ATSS (Zhang et al., CVPR 2020, Algorithm 1).

    On each level the anchors whose centres are nearest are candidates. Positive are those whose IoU
    is at least the mean plus the (unbiased) standard deviation of all candidates' IoUs, and whose
    centre is inside the box by more than .01 px.

    Args:
        boxes: as in ``count_matched``.
        extents: as there.
        levels: one anchor a location.
        candidates: a level.
    """
    # the nearest ones fill a square, at the grid's corner as well as about the object's centre
    reach = max(1, math.ceil(math.sqrt(candidates)) - 1)

    def count(rows: slice) -> IntArray:
        box, extent = boxes[rows], extents[rows]
        middle = (box[:, :2] + box[:, 2:]) / 2
        ious, usable, inner = [], [], []
        for level in levels:
            cells, real = _around(middle / level.stride, extent, level.stride, reach)
            centres = (cells * level.stride).reshape(len(box), -1, 2)
            distance = ((centres - middle[:, None]) ** 2).sum(axis=-1)
            distance[~real.reshape(len(box), -1)] = np.inf
            nearest = distance.argsort(axis=1, kind="stable")[:, :candidates]
            centres = np.take_along_axis(centres, nearest[..., None], axis=1)
            usable.append(np.isfinite(np.take_along_axis(distance, nearest, axis=1)))
            ious.append(_iou(box, centres, level.sizes[0]))
            depth = np.minimum(centres - box[:, None, :2], box[:, None, 2:] - centres)
            inner.append((depth > 0.01).all(axis=-1))
        iou, real = np.concatenate(ious, axis=1), np.concatenate(usable, axis=1)
        least = _mean_and_deviation(iou, real)
        enough = iou >= least[:, None] * (1 - SAME)
        positive = enough & real & np.concatenate(inner, axis=1)
        return np.asarray(positive.sum(axis=1))

    return _in_blocks(len(boxes), 4 * len(levels) * (2 * reach + 1) ** 2, count)


def _mean_and_deviation(values: FloatArray, real: BoolArray) -> FloatArray:
    """Return mean plus unbiased standard deviation (N,) of the values (N, K) that are real."""
    number = real.sum(axis=1)
    mean = np.where(real, values, 0).sum(axis=1) / number
    square = np.where(real, (values - mean[:, None]) ** 2, 0).sum(axis=1)
    return np.asarray(mean + np.sqrt(square / np.maximum(number - 1, 1)))


def count_receptive(
    boxes: FloatArray,
    extents: FloatArray,
    levels: Sequence[AnchorLevel],
    rule: ReceptiveMatching,
) -> IntArray:
    """Count the positives (N,) of RFLA (Xu et al., ECCV 2022): hierarchical label assignment.

    Box and prior are compared as Gaussians. Positive are the priors with one of the highest scores;
    and, once the priors are shrunk, those with one of the highest again.

    Args:
        boxes: as in ``count_matched``.
        extents: as there.
        levels: the priors, in place of anchors.
        rule: metric, and how many are taken in either round.
    """
    # of a long object the best ones may lie side by side
    reach = max(rule.nearest, rule.nearest_shrunk) // 2 + 1
    kinds = sum(len(level.sizes) for level in levels)

    def count(rows: slice) -> IntArray:
        box, extent = boxes[rows], extents[rows]
        first = _gaussian_scores(box, extent, levels, 1.0, rule.metric, reach)
        second = _gaussian_scores(box, extent, levels, rule.shrink, rule.metric, reach)
        both = _among_best(first, rule.nearest) | _among_best(second, rule.nearest_shrunk)
        return np.asarray(both.sum(axis=1))

    return _in_blocks(len(boxes), kinds * (2 * reach + 1) ** 2, count)


def _among_best(scores: FloatArray, best: int) -> BoolArray:
    """Return (N, K) whether a score is one of the ``best`` highest, ties included."""
    least = np.partition(scores, -best, axis=1)[:, -best]
    return np.asarray(scores >= (least * (1 - SAME))[:, None])


def _gaussian_scores(
    boxes: FloatArray,
    extents: FloatArray,
    levels: Sequence[AnchorLevel],
    factor: float,
    metric: Metric,
    reach: int,
) -> FloatArray:
    """Return the scores (N, K) of the priors around each box, 0 for those off the grid.

    1 / (1 + distance): of the Kullback-Leibler divergence, whose exponential ranks alike, or of the
    squared Wasserstein distance in px.
    """
    middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    scores = []
    for level in levels:
        cells, real = _around(middle / level.stride, extents, level.stride, reach)
        offset = cells * level.stride - middle[:, None, None]
        if metric != "wasserstein":
            offset = offset / size[:, None, None]
        square = (offset**2).sum(axis=-1)
        for prior in level.sizes:
            if metric == "wasserstein":
                distance = square + _of_shape(((np.array(prior) * factor - size) / 2) ** 2)
            else:
                ratio = (np.array(prior) * factor / size) ** 2
                distance = (_of_shape(ratio - np.log(ratio) - 1) + 4 * square) / 2
            scores.append(np.where(real, 1 / (1 + distance), 0.0).reshape(len(boxes), -1))
    return np.concatenate(scores, axis=1)


def _of_shape(terms: FloatArray) -> FloatArray:
    """Return the sum over width and height (N, 1, 1)."""
    return np.asarray(terms.sum(axis=1)[:, None, None])


def _around(
    place: FloatArray, extents: FloatArray, stride: int, reach: int
) -> tuple[FloatArray, BoolArray]:
    """Return the cells around each place, and which of them the grid has.

    Args:
        place: (N, 2) x and y in cells.
        extents: (N, 2) width and height of the image in px.
        stride: px a cell.
        reach: cells to each side of the nearest cell of the grid; the window slides inwards.

    Returns:
        (N, K, K, 2) column and row, K = 2 * reach + 1, and (N, K, K).
    """
    last = np.ceil(extents / stride) - 1
    nearest = np.clip(np.round(place), 0, last)
    first = np.clip(nearest - reach, 0, np.maximum(last - 2 * reach, 0))
    along = first[:, :, None] + np.arange(2 * reach + 1)
    real = along <= last[:, :, None]
    columns, rows = np.broadcast_arrays(along[:, 0, None, :], along[:, 1, :, None])
    return np.stack([columns, rows], axis=-1), real[:, 0, None, :] & real[:, 1, :, None]


def _iou(boxes: FloatArray, centres: FloatArray, size: tuple[float, float]) -> FloatArray:
    """Return the IoU (N, K) of each box with anchors of one size at its centres (N, K, 2)."""
    half = np.array(size) / 2
    low = np.maximum(boxes[:, None, :2], centres - half)
    high = np.minimum(boxes[:, None, 2:], centres + half)
    overlap = np.maximum(high - low, 0).prod(axis=-1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]
    return np.asarray(overlap / (areas + size[0] * size[1] - overlap))


def _in_blocks(count: int, cells: int, work: Callable[[slice], IntArray]) -> IntArray:
    """Return what ``work`` returns for all rows, some at a time: memory stays bounded.

    Args:
        count: of rows.
        cells: numbers that are held for a row.
        work: from rows to their counts.
    """
    many = max(1, BLOCK_CELLS // cells)
    parts = [work(slice(start, start + many)) for start in range(0, count, many)]
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
