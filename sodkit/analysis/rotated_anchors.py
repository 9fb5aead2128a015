"""How well upright anchors cover oriented objects: the best rotated IoU."""

from __future__ import annotations

import numpy as np

from sodkit.arrays import FloatArray
from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.settings.anchor_levels import AnchorLevel

REACH = 2
"""Grid cells about the one nearest to an object's centre in which the best anchor is looked for."""


def best_rotated_iou(
    obb: FloatArray, extents: FloatArray, levels: tuple[AnchorLevel, ...]
) -> FloatArray:
    """Return the rotated IoU (N,) of each oriented box with the anchor that overlaps it best.

    The overlap of two boxes falls as their centres part, but for a tilted box not along each axis
    alone: so the 25 anchors about the nearest one are tried. A level whose anchors' area bounds
    the IoU below what is reached is passed over. Time and memory are linear in the boxes.

    Args:
        obb: (N, 5) in px of the resized image, sides > 0.
        extents: (N, 2) width and height of each box's resized (and padded) image.
        levels: the anchors.
    """
    best = np.zeros(len(obb))
    areas = obb[:, 2] * obb[:, 3]
    kinds = [(level.stride, size) for level in levels for size in level.sizes]
    steps = np.arange(-REACH, REACH + 1)
    around = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    for stride, (width, height) in kinds:
        area = width * height
        rows = np.flatnonzero(np.minimum(areas, area) / np.maximum(areas, area) > best)
        last = np.ceil(extents[rows] / stride) - 1
        cell = np.round(obb[rows, :2] / stride)
        for step in around:
            centre = np.clip(cell + step, 0, last) * stride
            anchors = np.zeros((len(rows), 5))
            anchors[:, :2], anchors[:, 2], anchors[:, 3] = centre, width, height
            best[rows] = np.maximum(best[rows], rotated_iou_pairs(obb[rows], anchors))
    return best
