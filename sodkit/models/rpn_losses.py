"""The losses of sampled anchors: of the RPN, and of the fine stage of CRPN."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sodkit import settings
from sodkit.data.batches import Target
from sodkit.models import losses, matchers
from sodkit.models.matchers import Order
from sodkit.models.proposals import Scored

Regression = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From anchors, their deltas and their objects' boxes, all (P, 4), to the summed loss."""


def sampled_losses(
    scored: Scored,
    targets: Sequence[Target],
    rule: settings.IouMatching,
    order: Order,
    regression: Regression,
) -> tuple[Tensor, Tensor]:
    """Return the means of objectness and regression loss over the samples of a batch.

    Both are divided by the number of samples, positives and negatives, each counted as at least
    one an image (release).

    Args:
        scored: the network's output.
        targets: ground truth of each image.
        rule: matching and sampling.
        order: draws the samples.
        regression: the loss of the positives.
    """
    boxes, logits = torch.cat(scored.anchors, 1), torch.cat(scored.logits, 1).float()
    deltas = torch.cat(scored.deltas, 1)
    cls = reg = logits.new_zeros(())
    count = 0
    for image, target in enumerate(targets):
        match = matchers.match_iou(boxes[image], target.boxes, target.ignore_boxes, rule)
        positives, negatives = matchers.sample(match.gt, rule, order)
        truth = target.boxes[match.gt[positives]]
        reg = reg + regression(boxes[image, positives], deltas[image, positives], truth)
        cls = cls + losses.objectness(logits[image], positives, negatives)
        count += max(1, len(positives)) + max(1, len(negatives))
    return cls / count, reg / count
