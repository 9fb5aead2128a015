"""The highest IoUs that each box has with a regular grid of anchors. Compiled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sodkit.arrays import FloatArray
from sodkit.compiled import compiled
from sodkit.settings.anchor_levels import AnchorLevel


def ranked_iou(
    boxes: FloatArray,
    extents: FloatArray,
    levels: Sequence[AnchorLevel],
    count: int,
    least: float,
) -> FloatArray:
    """Return the ``count`` highest IoUs (N, count) of each box with an anchor, the highest first.

    An object has at least k positives under a threshold T >= ``least`` if its k-th value is at
    least T: so one table answers for all thresholds. Time is linear in the number of boxes.

    Args:
        boxes: (N, 4) xyxy in px of the resized image, sides > 0.
        extents: (N, 2) width and height of each box's resized (and padded) image.
        levels: the anchors.
        count: IoUs a box.
        least: IoUs below may be left out: their places are 0.
    """
    kinds = [(level.stride, size) for level in levels for size in level.sizes]
    top = np.zeros((len(boxes), count))
    ranked_loop(
        np.ascontiguousarray(boxes, dtype=np.float64),
        np.ascontiguousarray(extents, dtype=np.float64),
        np.array([stride for stride, _ in kinds], dtype=np.float64),
        np.array([size for _, size in kinds], dtype=np.float64) / 2,
        least,
        top,
    )
    return top


@compiled("void(f8[:,:], f8[:,:], f8[:], f8[:,:], f8, f8[:,:])")
def ranked_loop(
    boxes: FloatArray,
    extents: FloatArray,
    strides: FloatArray,
    halves: FloatArray,
    least: float,
    top: FloatArray,
) -> None:
    """Fill ``top`` with each box's highest IoUs.

    Args:
        boxes: (N, 4) xyxy.
        extents: (N, 2) px.
        strides: (K,) of the kinds of anchors.
        halves: (K, 2) half their width and height.
        least: lower IoUs are left out.
        top: (N, C) result, zeros when called.
    """
    for i in range(len(boxes)):
        width, height = boxes[i, 2] - boxes[i, 0], boxes[i, 3] - boxes[i, 1]
        for kind in range(len(strides)):
            area = 4 * halves[kind, 0] * halves[kind, 1]
            # the IoU is at most the smaller area over the larger: most kinds drop out here
            most = min(width * height, area) / max(width * height, area)
            if most >= least and most > top[i, -1]:
                _insert_kind(boxes[i], extents[i], strides[kind], halves[kind], least, top[i])


def _insert_kind(
    box: FloatArray,
    extent: FloatArray,
    stride: float,
    half: FloatArray,
    least: float,
    top: FloatArray,
) -> None:
    """Insert the IoUs with all anchors of one kind."""
    both = (box[2] - box[0]) * (box[3] - box[1]) + 4 * half[0] * half[1]
    left, right = _cells(box[0] - half[0], box[2] + half[0], stride, extent[0])
    upper, lower = _cells(box[1] - half[1], box[3] + half[1], stride, extent[1])
    for row in range(upper, lower):
        y = row * stride
        high = min(box[3], y + half[1]) - max(box[1], y - half[1])
        for column in range(left, right):
            x = column * stride
            overlap = high * (min(box[2], x + half[0]) - max(box[0], x - half[0]))
            iou = overlap / (both - overlap)
            if iou >= least and iou > top[-1]:
                _insert(iou, top)


def _cells(low: float, high: float, stride: float, extent: float) -> tuple[int, int]:
    """Return the cells from the first on whose places lie between ``low`` and ``high`` px."""
    end = min(np.floor(high / stride), np.ceil(extent / stride) - 1) + 1
    return int(max(np.ceil(low / stride), 0)), int(end)


def _insert(value: float, top: FloatArray) -> None:
    """Insert a value into a falling row, whose last one drops out."""
    place = len(top) - 1
    while place > 0 and top[place - 1] < value:
        top[place] = top[place - 1]
        place -= 1
    top[place] = value
