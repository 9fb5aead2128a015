"""Which oriented proposal learns which object: matching by rotated IoU (Oriented R-CNN)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.models.kernels.blocks import blocks
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.ignored import inside
from sodkit.models.parts.matchers import IGNORED, Matches
from sodkit.models.parts.rotated_coders import enclosing


def match_rotated(
    boxes: Tensor, gt_boxes: Tensor, ignore_boxes: Tensor, *, positive: float, negative: float
) -> Matches:
    """Match oriented proposals by their best rotated IoU; exact, on the CPU.

    Only pairs whose enclosing boxes touch are clipped, so the time follows their number.

    Args:
        boxes: (N, 5) proposals.
        gt_boxes: (G, 5) objects.
        ignore_boxes: (I, 4) xyxy or (I, 5) oriented; proposals with more than half of their area
            inside one are ignored.
        positive: least IoU of a positive.
        negative: proposals whose best IoU is below are negative; between the two ignored.
    """
    objects = gt_boxes.double().cpu().numpy()
    around, gt_around = enclosing(boxes), enclosing(gt_boxes)
    best, index = boxes.new_zeros(len(boxes)), torch.full((len(boxes),), NEGATIVE)
    for part in blocks(len(boxes), len(gt_boxes)):
        row, column = _touching(around[part], gt_around)
        iou = rotated_iou_pairs(boxes[part].double().cpu().numpy()[row], objects[column])
        # of each proposal the pair with the greatest IoU, of equal ones the first object
        order = np.lexsort((-column, iou, row))
        last = order[np.append(np.diff(row[order]) != 0, True)] if len(order) else order
        rows = torch.from_numpy(row[last] + part.start)
        best[rows.to(best.device)] = torch.from_numpy(iou[last]).to(best)
        index[rows] = torch.from_numpy(column[last])
    index = index.to(boxes.device)
    gt = torch.full_like(index, IGNORED).masked_fill(best < negative, NEGATIVE)
    gt = torch.where((best >= positive) & (index >= 0), index, gt)
    return Matches(gt.masked_fill(inside(boxes, ignore_boxes), IGNORED), best)


def _touching(a: Tensor, b: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices (P,) int64 of all pairs of upright boxes that overlap."""
    apart = (a[:, None, :2] >= b[:, 2:]).any(-1) | (b[:, :2] >= a[:, None, 2:]).any(-1)
    row, column = torch.nonzero(~apart, as_tuple=True)
    return row.cpu().numpy(), column.cpu().numpy()
