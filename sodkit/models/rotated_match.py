"""Which oriented proposal learns which object: matching by rotated IoU (Oriented R-CNN)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sodkit import settings
from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.models import matchers
from sodkit.models.matchers import IGNORED, NEGATIVE, Matches
from sodkit.models.rotated_coders import enclosing

_BLOCK = 1 << 22


def match_rotated(
    boxes: Tensor, gt_boxes: Tensor, ignore_boxes: Tensor, rule: settings.IouMatching
) -> Matches:
    """Match oriented proposals by their best rotated IoU; exact, on the CPU.

    Only pairs whose enclosing boxes touch are clipped, so time and memory follow their number.

    Args:
        boxes: (N, 5) proposals.
        gt_boxes: (G, 5) objects.
        ignore_boxes: (I, 4) xyxy; proposals with more than half of their enclosing box inside one
            are ignored.
        rule: positive from ``rule.positive`` on, negative below ``rule.negative``, ignored
            between; there are no low-quality matches.
    """
    around = enclosing(boxes)
    none = matchers.match_iou(around, around[:0], ignore_boxes, rule)
    row, column = _touching(around, enclosing(gt_boxes))
    first, second = (x.double().cpu().numpy() for x in (boxes, gt_boxes))
    iou = rotated_iou_pairs(first[row], second[column])
    # of each proposal the pair with the greatest IoU, of equal ones the first object
    order = np.lexsort((-column, iou, row))
    last = order[np.append(np.diff(row[order]) != 0, True)] if len(order) else order
    best = torch.zeros_like(none.iou)
    index = torch.full_like(none.gt, NEGATIVE)
    rows = torch.from_numpy(row[last]).to(index.device)
    best[rows] = torch.from_numpy(iou[last]).to(best)
    index[rows] = torch.from_numpy(column[last]).to(index)
    gt = torch.full_like(index, IGNORED).masked_fill(best < rule.negative, NEGATIVE)
    gt = torch.where((best >= rule.positive) & (index >= 0), index, gt)
    return Matches(gt.masked_fill(none.gt == IGNORED, IGNORED), best)


def _touching(a: Tensor, b: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices (P,) int64 of all pairs of upright boxes that overlap, in blocks."""
    rows, columns = [a.new_zeros(0, dtype=torch.int64)], [a.new_zeros(0, dtype=torch.int64)]
    count = max(1, _BLOCK // max(1, len(b)))
    for start in range(0, len(a), count):
        part = a[start : start + count, None]
        apart = (part[..., :2] >= b[:, 2:]).any(-1) | (b[:, :2] >= part[..., 2:]).any(-1)
        row, column = torch.nonzero(~apart, as_tuple=True)
        rows.append(row + start)
        columns.append(column)
    return torch.cat(rows).cpu().numpy(), torch.cat(columns).cpu().numpy()
