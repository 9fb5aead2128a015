"""Which oriented proposal learns which object: matching by rotated IoU (Oriented R-CNN)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.rotated_iou import rotated_iou
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.ignored import inside
from sodkit.models.parts.matchers import IGNORED, Matches
from sodkit.models.parts.rotated_coders import enclosing


def match_rotated(
    boxes: Tensor, gt_boxes: Tensor, ignore_boxes: Tensor, *, positive: float, negative: float
) -> Matches:
    """Match oriented proposals by their best rotated IoU, exact.

    On the CPU only pairs whose enclosing boxes touch are clipped, so the time follows their number;
    on a device all pairs, so that it is not waited for.

    Args:
        boxes: (N, 5) proposals.
        gt_boxes: (G, 5) objects.
        ignore_boxes: (I, 4) xyxy or (I, 5) oriented; proposals with more than half of their area
            inside one are ignored. Or (N,) bool, see ``inside``.
        positive: least IoU of a positive.
        negative: proposals whose best IoU is below are negative; between the two ignored.
    """
    best, index = (_best_of_all if boxes.device.type != "cpu" else _best)(boxes, gt_boxes)
    gt = torch.full_like(index, IGNORED).masked_fill(best < negative, NEGATIVE)
    gt = torch.where((best >= positive) & (index >= 0), index, gt)
    return Matches(gt.masked_fill(inside(boxes, ignore_boxes), IGNORED), best)


def _best_of_all(boxes: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the best IoU (N,) of each box and the first object (N,) that it has it with."""
    none = torch.full_like(boxes[:, 0], NEGATIVE, dtype=torch.int64)
    if len(gt_boxes) == 0:
        return boxes.new_zeros(len(boxes)), none
    bests, indices = [boxes.new_zeros(0)], [none[:0]]
    number = torch.arange(len(gt_boxes), device=boxes.device)
    for part in blocks(len(boxes), len(gt_boxes)):
        count = part.stop - part.start
        iou = rotated_iou(
            boxes[part].repeat_interleave(len(gt_boxes), 0), gt_boxes.repeat(count, 1)
        ).reshape(count, -1)
        best = iou.amax(1, keepdim=True)
        bests.append(best[:, 0].to(boxes.dtype))
        indices.append(torch.where(iou == best, number, len(gt_boxes)).amin(1))
    best = torch.cat(bests)
    return best, torch.where(best > 0, torch.cat(indices), NEGATIVE)


def _best(boxes: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Do what ``_best_of_all`` does by compiled code."""
    objects = gt_boxes.double().numpy()
    around, gt_around = enclosing(boxes), enclosing(gt_boxes)
    best, index = boxes.new_zeros(len(boxes)), torch.full((len(boxes),), NEGATIVE)
    for part in blocks(len(boxes), len(gt_boxes)):
        row, column = _touching(around[part], gt_around)
        iou = rotated_iou_pairs(boxes[part].double().numpy()[row], objects[column])
        # of each proposal the pair with the greatest IoU, of equal ones the first object
        order = np.lexsort((-column, iou, row))
        last = order[np.append(np.diff(row[order]) != 0, True)] if len(order) else order
        rows = torch.from_numpy(row[last] + part.start)
        best[rows] = torch.from_numpy(iou[last]).to(best)
        index[rows] = torch.from_numpy(column[last])
    return best, index


def _touching(a: Tensor, b: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices (P,) int64 of all pairs of upright boxes that overlap."""
    apart = (a[:, None, :2] >= b[:, 2:]).any(-1) | (b[:, :2] >= a[:, None, 2:]).any(-1)
    row, column = torch.nonzero(~apart, as_tuple=True)
    return row.numpy(), column.numpy()
