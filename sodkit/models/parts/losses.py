"""Losses as pure functions; normalisers are the callers'. All compute in float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sodkit.models.parts.box_iou import TINY, paired_iou
from sodkit.settings.dense import FocalLoss


def iou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of 1 - IoU over the rows of (N, 4) boxes, 0 if there are none."""
    return (1 - paired_iou(boxes, targets)).sum()


def giou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Return 1 - GIoU (N,) in [0, 2] of boxes (N, 4) xyxy row by row.

    Rezatofighi et al., CVPR 2019: the IoU less the share of the enclosing box in neither of them.
    """
    (x1, y1, x2, y2), (u1, v1, u2, v2) = boxes.unbind(1), targets.unbind(1)
    width = (torch.minimum(x2, u2) - torch.maximum(x1, u1)).clamp(min=0)
    height = (torch.minimum(y2, v2) - torch.maximum(y1, v1)).clamp(min=0)
    inter = width * height
    union = ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - inter).clamp(min=TINY)
    around = (torch.maximum(x2, u2) - torch.minimum(x1, u1)) * (
        torch.maximum(y2, v2) - torch.minimum(y1, v1)
    )
    around = around.clamp(min=TINY)
    return 1 - inter / union + (around - union) / around


def objectness(logits: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Return the summed binary cross-entropy of the rows ``positives`` and ``negatives``.

    Args:
        logits: (N,).
        positives: (P,) rows that are objects.
        negatives: (Q,) rows that are background.
    """
    return F.softplus(-logits[positives]).sum() + F.softplus(logits[negatives]).sum()


def focal(
    logits: Tensor, rows: Tensor, labels: Tensor, config: FocalLoss, *,
    left_out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the summed focal loss of every anchor and class (Lin et al., ICCV 2017, Eq. 5).

    Args:
        logits: (A, classes) of the anchors that are trained on.
        rows: (P,) those of them with an object; the others are negative.
        labels: (P,) int64 classes of these objects.
        config: alpha and gamma.
        left_out: (A,) bool, anchors among them that are not trained on after all; None: none.
    """
    wanted = torch.zeros_like(logits)
    wanted[rows, labels] = 1.0
    p = logits.sigmoid()
    miss = wanted * (1 - p) + (1 - wanted) * p
    alpha = wanted * config.alpha + (1 - wanted) * (1 - config.alpha)
    each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    each = alpha * miss**config.gamma * each
    return each.sum() if left_out is None else each.masked_fill(left_out[:, None], 0).sum()


def contrastive(logits: Tensor, members: Tensor, positives: Tensor) -> tuple[Tensor, Tensor]:
    """Return the supervised contrastive loss of each query (Eq. 5 for one j).

    Args:
        logits: (G, P) similarities v_j . v_i, divided by the temperature.
        members: (G, P) bool, the query's samples: positives and negatives.
        positives: (G, P) bool, a subset of ``members``.

    Returns:
        losses (G,): -mean over the positives of log softmax over the members, 0 without
        positives; and (G,) bool: there were positives.
    """
    counts = positives.sum(1)
    masked = logits.float().masked_fill(~members, float("-inf"))
    # a row without members would be all -inf, and its gradient NaN
    empty = ~members.any(1, keepdim=True)
    log_softmax = torch.log_softmax(masked.masked_fill(empty, 0.0), 1)
    sums = torch.where(positives, log_softmax, 0.0).sum(1)
    return -sums / counts.clamp(min=1), counts > 0
