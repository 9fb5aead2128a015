"""What the anchors or points of a batch are trained on, its images one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.dense_head import DenseOutput
from sodkit.models.parts.regression import Boxes, upright_truth


@dataclass(frozen=True, slots=True, eq=False)
class DenseMatches:
    """The matches of B images with A anchors each; a row is one of B * A anchors.

    Attributes:
        used: (U,) rows of positives and negatives.
        rows: (P,) rows of the positives.
        place: (P,) where the positives are among ``used``.
        anchors: (P,) which of an image's anchors they are.
        boxes: (P, 4) xyxy, or (P, 5) oriented: their objects.
        labels: (P,) int64, their objects' classes.
        counts: number of positives of each image.
    """

    used: Tensor
    rows: Tensor
    place: Tensor
    anchors: Tensor
    boxes: Tensor
    labels: Tensor
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a head with centerness gives for the anchors or points that are trained on, in float32.

    Attributes:
        logits: (U, classes) of ``DenseMatches.used``.
        deltas: (P, 4) of the positives.
        centerness: (P,) logits of the positives.
    """

    logits: Tensor
    deltas: Tensor
    centerness: Tensor


def outputs(output: DenseOutput, matched: DenseMatches) -> Outputs:
    """Return what a head with centerness gives for the anchors of a batch that are trained on."""
    assert output.centerness is not None
    rows = matched.rows
    return Outputs(
        torch.cat(output.logits, 1).flatten(0, 1)[matched.used].float(),
        torch.cat(output.deltas, 1).flatten(0, 1)[rows].float(),
        torch.cat(output.centerness, 1).flatten()[rows].float(),
    )


def of_batch(batch: Batch, matches: Sequence[Tensor], truth: Boxes = upright_truth) -> DenseMatches:
    """Return the matches of a batch, and report them; a device is waited for once.

    Args:
        batch: with the targets of all its images.
        matches: (A,) of each image: index of an object, negative or ignored.
        truth: what the objects' boxes are.
    """
    for match in matches:
        batch.on_match(match)
    together = torch.cat(list(matches))
    masks = [match >= 0 for match in matches]
    *rows, used = rows_each([*masks, together >= NEGATIVE])
    objects = [match[own] for match, own in zip(matches, rows, strict=True)]
    each = list(zip(batch.targets, objects, strict=True))
    size = len(matches[0])
    positive = torch.cat([own + image * size for image, own in enumerate(rows)])
    return DenseMatches(
        used=used,
        rows=positive,
        place=(together >= NEGATIVE).cumsum(0)[positive] - 1,
        anchors=torch.cat(rows),
        boxes=torch.cat([truth(target)[own] for target, own in each]),
        labels=torch.cat([target.labels[own] for target, own in each]),
        counts=tuple(map(len, rows)),
    )
