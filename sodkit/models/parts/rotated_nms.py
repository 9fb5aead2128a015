"""Non-maximum suppression of oriented boxes within classes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sodkit.arrays import IntArray
from sodkit.geometry.nms import nms_rotated
from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.nonzero import nonzero_each
from sodkit.models.kernels.rotated_iou import rotated_intersection
from sodkit.models.parts.rotated_coders import enclosing

TABLES = 2**8
"""Blocks of the table of all pairs that are held at once: 256 MB."""


def grouped_nms_rotated(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Suppress oriented boxes (N, 5) of a group by their exact rotated IoU.

    On the CPU in a time linear in N; on a device that is waited for twice.

    Args and returns as of ``kernels.grouped_nms``.
    """
    if boxes.device.type != "cpu":
        return nms_rotated_pairs(boxes, scores, groups, threshold)
    columns = [x.detach().cpu().numpy() for x in (boxes.double(), scores.double(), groups)]
    return torch.from_numpy(nms_rotated(columns[0], columns[1], threshold, columns[2])).to(groups)


def nms_rotated_pairs(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Do what ``grouped_nms_rotated`` does as on a device: it clips all pairs that may overlap.

    Which boxes are kept follows from the pairs above the threshold, one after the other: that is
    decided on the host.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes, groups = boxes[order].double(), groups[order]
    around = enclosing(boxes)
    number = torch.arange(len(order), device=order.device)
    parts = blocks(len(order), len(order))
    pairs = [order.new_zeros(0, 2)]
    for start in range(0, len(parts), TABLES):
        some = parts[start : start + TABLES]
        near = [
            (number[part, None] < number)
            & (groups[part, None] == groups)
            & (around[part, None, :2] < around[:, 2:]).all(2)
            & (around[:, :2] < around[part, None, 2:]).all(2)
            for part in some
        ]
        for part, found in zip(some, nonzero_each(near), strict=True):
            pairs.append(torch.stack([found[:, 0] + part.start, found[:, 1]], 1))
    better, other = torch.cat(pairs).unbind(1)
    inter = rotated_intersection(boxes[better], boxes[other])
    areas = boxes[:, 2] * boxes[:, 3]
    total = areas[better] + areas[other]
    above = (inter > 0) & (inter / torch.maximum(total - inter, inter) > threshold)
    kept = _kept(len(order), torch.stack([better, other, above.long()]).cpu().numpy())
    return order[torch.from_numpy(kept).to(order.device, non_blocking=True)]


def _kept(count: int, pairs: IntArray) -> IntArray:
    """Return which boxes are kept, best first.

    Args:
        count: boxes, best first.
        pairs: (3, P) a box, ascending, a worse one, and whether they overlap too much.
    """
    better, other = pairs[:2, pairs[2] > 0]
    kept = np.ones(count, np.bool_)
    bounds = np.searchsorted(better, np.arange(count + 1))
    for box in np.unique(better):
        if kept[box]:
            kept[other[bounds[box] : bounds[box + 1]]] = False
    return np.flatnonzero(kept)
