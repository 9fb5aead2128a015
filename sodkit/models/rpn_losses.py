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
from sodkit.models.regression import Boxes, upright_truth

Regression = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From anchors (P, 4), their deltas and their objects' boxes to the summed loss."""


def sampled_losses(
    scored: Scored,
    targets: Sequence[Target],
    rule: settings.IouMatching,
    order: Order,
    regression: Regression,
    truth: Boxes = upright_truth,
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
        truth: what they are regressed to; they are matched by the upright boxes.
    """
    boxes, logits = torch.cat(scored.anchors, 1), torch.cat(scored.logits, 1).float()
    deltas = torch.cat(scored.deltas, 1)
    cls = reg = logits.new_zeros(())
    count = 0
    for image, target in enumerate(targets):
        match = matchers.match_iou(boxes[image], target.boxes, target.ignore_boxes, rule)
        positives, negatives = matchers.sample(match.gt, rule, order)
        objects = truth(target)[match.gt[positives]]
        reg = reg + regression(boxes[image, positives], deltas[image, positives], objects)
        cls = cls + losses.objectness(logits[image], positives, negatives)
        count += max(1, len(positives)) + max(1, len(negatives))
    return cls / count, reg / count
