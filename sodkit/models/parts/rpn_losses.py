"""The losses of sampled anchors: of the RPN, and of the fine stage of CRPN."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sodkit.data.batches import Batch, Target
from sodkit.models.parts import losses, matchers, sampling
from sodkit.models.parts.ignored import settled
from sodkit.models.parts.regression import Boxes, upright_truth
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.parts.selection import Scored
from sodkit.settings.base import IouMatching, Sampling

Match = Callable[[Tensor, Target, tuple[int, int]], Tensor]
"""From anchors (A, 4), an image's target and size (height, width) to the match (A,) of each."""

Regression = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From anchors (P, 4), their deltas and their objects' boxes to the summed loss."""


def sampled_losses(
    scored: Scored,
    batch: Batch,
    match: Match,
    rule: Sampling,
    shuffle: Shuffle,
    regression: Regression,
    truth: Boxes = upright_truth,
) -> tuple[Tensor, Tensor]:
    """Return the means of objectness and regression loss over the samples of a batch.

    Both are divided by the number of samples, positives and negatives, each counted as at least
    one an image (release).

    Args:
        scored: the network's output.
        batch: the images with their ground truth.
        match: which anchor learns which object.
        rule: of the sampling.
        shuffle: draws the samples.
        regression: the loss of the positives.
        truth: what they are regressed to; they are matched by the upright boxes.
    """
    if len(batch.targets) != len(scored.logits[0]):
        raise ValueError(f"{len(batch.targets)} targets for {len(scored.logits[0])} images")
    boxes, logits = torch.cat(scored.anchors, 1), torch.cat(scored.logits, 1).float()
    deltas = torch.cat(scored.deltas, 1)
    cls = reg = logits.new_zeros(())
    count = 0
    images = zip(boxes, settled(list(boxes), batch.targets), batch.sizes, strict=True)
    gts = [match(*image) for image in images]
    chosen = sampling.sample(gts, rule, shuffle)
    for image, (target, gt) in enumerate(zip(batch.targets, gts, strict=True)):
        batch.on_match(gt)
        positives, negatives = chosen[image]
        objects = truth(target)[gt[positives]]
        reg = reg + regression(boxes[image, positives], deltas[image, positives], objects)
        cls = cls + losses.objectness(logits[image], positives, negatives)
        count += max(1, len(positives)) + max(1, len(negatives))
    total = batch.step.total(count)
    return cls / total, reg / total


def match_by_iou(
    rule: IouMatching,
    boxes: Tensor,
    target: Target,
    *,
    within: tuple[int, int] | None = None,
    shapes: Tensor | None = None,
) -> Tensor:
    """Return the match (A,) of boxes (A, 4) by their best IoU (``matchers.match_iou``)."""
    return matchers.match_iou(
        boxes, target.boxes, target.ignore_boxes, positive=rule.positive, negative=rule.negative,
        low_quality=rule.low_quality, within=within, shapes=shapes,
    ).gt  # fmt: skip
