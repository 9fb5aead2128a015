"""How many positives an object gets from the assigners of dense detectors and proposal networks.

Each object is counted as if it were alone: where several want the same anchor, training gives it to
one of them, and the others get fewer. Its centre lies inside of its image. Nothing is made for the
whole grid: a location far from an object is no positive of it, so a few locations around it are
looked at. Time and memory are linear in the number of objects. The rules are those of the
detectors' matchers in ``models/``, which the tests compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sodkit.analysis.anchor_grid import best_iou, count_anchors
from sodkit.analysis.assign_loops import adaptive_loop, match_loop, point_loop, receptive_loop
from sodkit.arrays import FloatArray, IntArray
from sodkit.settings.anchor_levels import AnchorLevel
from sodkit.settings.proposers import ReceptiveMatching


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
    each = levels if by_location else [AnchorLevel(v.stride, (s,)) for v in levels for s in v.sizes]
    strides, first, sizes = _columns(each)
    low = 2.0 if low_quality is None else low_quality  # no IoU is 2
    counts = np.zeros(len(boxes), dtype=np.int64)
    match_loop(_rows(boxes), _rows(extents), strides, first, sizes / 2, positive, low, counts)
    return counts


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
    counts = np.zeros(len(boxes), dtype=np.int64)
    columns = np.array(strides, dtype=np.float64), np.array(ranges, dtype=np.float64)
    point_loop(_rows(boxes), _rows(extents), *columns, radius, counts)
    return counts


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
    strides, _, sizes = _columns(levels)
    # the nearest ones fill a square, at the grid's corner as well as about the object's centre
    reach = max(1, math.ceil(math.sqrt(candidates)) - 1)
    room = np.zeros((len(levels) * candidates, 3))
    counts = np.zeros(len(boxes), dtype=np.int64)
    columns = _rows(boxes), _rows(extents), strides, sizes / 2
    adaptive_loop(*columns, candidates, reach, room, counts)
    return counts


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
    strides, first, sizes = _columns(levels)
    taken = np.array([rule.nearest, rule.nearest_shrunk], dtype=np.int64)
    reach = int(taken.max()) // 2 + 1  # of a long object the best ones may lie side by side
    room, best = np.zeros((2, len(sizes))), np.zeros((2, int(taken.max())))
    counts = np.zeros(len(boxes), dtype=np.int64)
    receptive_loop(
        _rows(boxes), _rows(extents), strides, first, sizes, np.array([1.0, rule.shrink]), taken,
        reach, int(rule.metric == "wasserstein"), room, best, counts,
    )  # fmt: skip
    return counts


def _columns(levels: Sequence[AnchorLevel]) -> tuple[FloatArray, IntArray, FloatArray]:
    """Return strides (L,), rows of sizes at which each level begins (L + 1,), and sizes (S, 2)."""
    ends = np.cumsum([0, *(len(level.sizes) for level in levels)], dtype=np.int64)
    sizes = [size for level in levels for size in level.sizes]
    return (
        np.array([level.stride for level in levels], dtype=np.float64),
        ends,
        np.array(sizes, dtype=np.float64),
    )


def _rows(values: FloatArray) -> FloatArray:
    """Return rows that lie one after the other in memory, as compiled loops need them."""
    return np.ascontiguousarray(values, dtype=np.float64)
