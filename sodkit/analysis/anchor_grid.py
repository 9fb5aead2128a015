"""How well a regular grid of anchors covers boxes, without making the anchors.

An anchor of size (a, b) on a level with stride s is centred on (i * s, j * s), i and j whole
numbers from 0 to the level's width and height - 1. Its overlap with a box is a product of an
overlap along x, which depends on i only, and one along y, on j only; each falls with the distance
of the centres. So the best anchor is the nearest in x and y, and only the few anchors around a
box need counting. Time and memory are linear in the number of boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from sodkit.arrays import FloatArray, IntArray
from sodkit.settings.anchor_levels import AnchorLevel
from sodkit.settings.proposers import Threshold

BLOCK_CELLS = 500_000
BLOCK_ROWS = 50_000


def best_iou(boxes: FloatArray, extents: FloatArray, levels: tuple[AnchorLevel, ...]) -> FloatArray:
    """Return the IoU (N,) of each box with the anchor that overlaps it best.

    Args:
        boxes: (N, 4) xyxy in px of the resized image, sides > 0.
        extents: (N, 2) width and height of each box's resized (and padded) image.
        levels: the anchors.
    """
    best = np.zeros(len(boxes))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for level in levels:
        last = np.ceil(extents / level.stride) - 1
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        nearest = np.clip(np.round(centres / level.stride), 0, last) * level.stride
        for size in level.sizes:
            half = np.array(size) / 2
            low = np.maximum(boxes[:, :2], nearest - half)
            high = np.minimum(boxes[:, 2:], nearest + half)
            overlap = np.maximum(high - low, 0).prod(axis=1)
            best = np.maximum(best, overlap / (areas + size[0] * size[1] - overlap))
    return best


def count_anchors(
    boxes: FloatArray,
    extents: FloatArray,
    levels: tuple[AnchorLevel, ...],
    thresholds: FloatArray,
    progress: Callable[[int, int], None] | None = None,
) -> IntArray:
    """Count the anchors that reach an IoU with each box.

    Every box is counted on its own: an anchor that two boxes share is counted for both.

    Args:
        boxes: (N, 4) xyxy in px of the resized image, sides > 0.
        extents: (N, 2) width and height of each box's resized (and padded) image.
        levels: the anchors.
        thresholds: (N, T) least IoUs > 0.
        progress: called with (done, total) after each kind of anchor.

    Returns:
        (N, T) counts.
    """
    counts = np.zeros(thresholds.shape, dtype=np.int64)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    least = thresholds.min(axis=1, initial=np.inf)
    kinds = [(level.stride, size) for level in levels for size in level.sizes]
    for done, (stride, size) in enumerate(kinds, start=1):
        area = size[0] * size[1]
        # the IoU is at most the smaller area over the larger: most levels drop out here
        within = np.minimum(areas, area) / np.maximum(areas, area) >= least
        for rows in _blocks(boxes, np.flatnonzero(within), size, stride):
            iou = _local_iou(boxes[rows], extents[rows], size, stride)
            for column in range(thresholds.shape[1]):
                reached = iou >= thresholds[rows, column, None, None]
                counts[rows, column] += reached.sum(axis=(1, 2))
        if progress is not None:
            progress(done, len(kinds))
    return counts


def _blocks(
    boxes: FloatArray, rows: IntArray, size: tuple[float, float], stride: int
) -> Iterator[IntArray]:
    """Yield the rows in groups of similar size whose windows of cells stay within a budget."""
    windows = _window(boxes[rows], size, stride)
    order = np.argsort(windows.prod(axis=1), kind="stable")
    rows, windows = rows[order], windows[order]
    start = 0
    while start < len(rows):
        # all of a group get the window of its widest and its tallest box
        group = np.maximum.accumulate(windows[start : start + BLOCK_ROWS], axis=0).prod(axis=1)
        cells = group * np.arange(1, len(group) + 1)
        many = max(1, int(np.searchsorted(cells, BLOCK_CELLS, side="right")))
        yield rows[start : start + many]
        start += many


def _window(boxes: FloatArray, size: tuple[float, float], stride: int) -> IntArray:
    """Return how many anchors along x and y (N, 2) can overlap each box."""
    reach = boxes[:, 2:] - boxes[:, :2] + size
    return np.ceil(reach / stride).astype(np.int64) + 1


def _local_iou(
    boxes: FloatArray, extents: FloatArray, size: tuple[float, float], stride: int
) -> FloatArray:
    """Return the IoU (N, Y, X) of each box with the anchors around it, 0 outside the grid."""
    spans = [_overlap_along(boxes, extents, size, stride, axis) for axis in (0, 1)]
    overlap = spans[1][:, :, None] * spans[0][:, None, :]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None, None]
    return np.asarray(overlap / (areas + size[0] * size[1] - overlap))


def _overlap_along(
    boxes: FloatArray, extents: FloatArray, size: tuple[float, float], stride: int, axis: int
) -> FloatArray:
    """Return the overlap in px (N, K) along one axis with the K anchors around each box."""
    low, high = boxes[:, axis, None], boxes[:, axis + 2, None]
    many = int(_window(boxes, size, stride)[:, axis].max())
    first = np.floor((low - size[axis] / 2) / stride)
    index = first + np.arange(many)
    centre = index * stride
    span = np.minimum(high, centre + size[axis] / 2) - np.maximum(low, centre - size[axis] / 2)
    last = np.ceil(extents[:, axis, None] / stride) - 1
    return np.where((index >= 0) & (index <= last), np.maximum(span, 0), 0.0)


def count_region(
    boxes: FloatArray, extents: FloatArray, levels: tuple[AnchorLevel, ...], share: float
) -> IntArray:
    """Count the locations (N,) that Cascade RPN's first stage takes for each box.

    A box belongs to one level, the one whose anchor's side is nearest in log2. There its centre
    region counts: the box shrunk to ``share`` of its sides, in grid units, both ends rounded; one
    location at least, but for objects beyond the grid's last one (Cascade RPN, "region-based"
    assignment; CFINet's Table 1 names its shares).

    Args:
        boxes: (N, 4) xyxy in px of the resized image, sides > 0.
        extents: (N, 2) width and height of each box's resized (and padded) image.
        levels: the anchors; the first size of each level gives its side.
        share: of the centre region, 0 to 1.
    """
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    anchor_sides = np.array([np.sqrt(np.prod(level.sizes[0])) for level in levels])
    distance = np.abs(np.log2(sides)[:, None] - np.log2(anchor_sides)[None, :])
    stride = np.array([level.stride for level in levels])[distance.argmin(axis=1)][:, None]
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * share
    first = np.maximum(np.round((centre - half) / stride), 0)
    last = np.minimum(np.round((centre + half) / stride), np.ceil(extents / stride) - 1)
    return np.asarray(np.maximum(last - first + 1, 0).prod(axis=1), dtype=np.int64)


def dynamic_thresholds(threshold: Threshold, boxes: FloatArray) -> FloatArray:
    """Return the IoU (N,) that makes an anchor positive (paper Eq. 1).

    Args:
        threshold: its parameters.
        boxes: (N, 4) xyxy in px of the patch *before* resizing, sides > 0.
    """
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    grown = threshold.base + threshold.gamma * np.log2(sides / threshold.reference)
    return np.asarray(np.clip(grown, threshold.floor, None).clip(None, threshold.cap))
