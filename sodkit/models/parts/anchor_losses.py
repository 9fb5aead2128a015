"""The losses of dense detectors that train on every anchor: RetinaNet and its descendants."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sodkit.data.batches import Batch, Target
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts import losses
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.dense_head import DenseOutput
from sodkit.settings.dense import FocalLoss

Regression = Callable[[Tensor, Tensor, Target, Tensor], Tensor]
"""From the positives' anchors (P, 4 or 5), their deltas (P, columns), the target and the positives'
objects (P,) to the summed loss."""


def every_anchor(
    output: DenseOutput,
    anchors: Sequence[Tensor],
    gts: Sequence[Tensor],
    batch: Batch,
    focal: FocalLoss,
    regression: Regression,
) -> tuple[Tensor, Tensor]:
    """Return the focal loss of all anchors but the ignored ones, and the loss of the positives.

    Both are divided by the number of positives of the step, counted as at least one an image.

    Args:
        output: the head's.
        anchors: (A, 4 or 5) of each image.
        gts: (A,) the match of every anchor of each image.
        batch: the images with their targets.
        focal: its settings.
        regression: the loss of the positives.
    """
    logits, deltas = torch.cat(output.logits, 1).float(), torch.cat(output.deltas, 1).float()
    cls = reg = logits.new_zeros(())
    count = 0
    chosen = rows_each([mask for gt in gts for mask in (gt >= 0, gt >= NEGATIVE)])
    for image, (target, gt) in enumerate(zip(batch.targets, gts, strict=True)):
        batch.on_match(gt)
        rows, used = chosen[2 * image : 2 * image + 2]
        objects = gt[rows]
        reg = reg + regression(anchors[image][rows], deltas[image, rows], target, objects)
        place = (gt >= NEGATIVE).cumsum(0)[rows] - 1  # of positives among the used
        cls = cls + losses.focal(logits[image, used], place, target.labels[objects], focal)
        count += max(1, len(rows))
    total = batch.step.total(count)
    return cls / total, reg / total
