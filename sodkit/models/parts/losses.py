"""Losses as pure functions; normalisers are the callers'. All compute in float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sodkit.models.parts import coders
from sodkit.models.parts.box_iou import TINY, paired_iou
from sodkit.settings.dense import FocalLoss

_BOUNDED = 1e-3
"""px: what the bounded IoU loss adds to what it divides by (GA-RPN's release)."""


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


def bounded_iou(boxes: Tensor, targets: Tensor) -> Tensor:
    """Return the summed bounded IoU loss (Tychsen-Smith and Petersson, CVPR 2018) of (N, 4) boxes.

    For each of x, y, width and height 1 - the IoU that a box could have at best if the others were
    right, through smooth L1 (beta .2).
    """
    (centre, size), (place, side) = coders.centre_and_size(boxes), coders.centre_and_size(targets)
    shift = 2 * (place - centre).abs()
    apart = 1 - ((side - shift) / (side + shift + _BOUNDED)).clamp(min=0)
    unlike = 1 - torch.minimum(side / (size + _BOUNDED), size / (side + _BOUNDED))
    each = torch.cat([apart, unlike], 1)
    return F.smooth_l1_loss(each, torch.zeros_like(each), beta=0.2, reduction="sum")


def objectness(logits: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Return the summed binary cross-entropy of the rows ``positives`` and ``negatives``.

    Args:
        logits: (N,).
        positives: (P,) rows that are objects.
        negatives: (Q,) rows that are background.
    """
    return F.softplus(-logits[positives]).sum() + F.softplus(logits[negatives]).sum()


def cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """Return the summed binary cross-entropy of logits against shares in [0, 1], of one shape."""
    return F.binary_cross_entropy_with_logits(logits, shares, reduction="sum")


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
    each = focal_each(logits, wanted, config)
    return each.sum() if left_out is None else each.masked_fill(left_out[:, None], 0).sum()


def focal_each(logits: Tensor, wanted: Tensor, config: FocalLoss) -> Tensor:
    """Return the focal loss of every logit, in their shape; ``wanted`` is 1 or 0 for each."""
    p = logits.sigmoid()
    miss = wanted * (1 - p) + (1 - wanted) * p
    alpha = wanted * config.alpha + (1 - wanted) * (1 - config.alpha)
    each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return alpha * miss**config.gamma * each


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
