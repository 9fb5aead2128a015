"""Queries and objects matched one to one at the least cost in all (Carion et al., ECCV 2020, 3.1).

A query is one of a fixed number of predictions of an image. Each object is learnt by one query; the
others learn that there is none. So there are no duplicates for NMS to suppress.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sodkit.data.batches import Batch, Target
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.parts import coders, losses, postprocess
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.box_iou import every_giou
from sodkit.models.parts.dense_detect import best_pairs
from sodkit.models.parts.ignored import inside
from sodkit.models.parts.matchers import IGNORED
from sodkit.settings import Keep
from sodkit.settings.dense import FocalLoss
from sodkit.settings.queries import SetLoss

_NEVER = 1e9
"""Cost of a pair that must not be, for scipy, which takes no infinite row."""


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What one stage or layer predicts of Q queries an image.

    Attributes:
        logits: (B, Q, classes) float32; there is no background.
        boxes: (B, Q, 4) float32 xyxy, px of the network's input.
    """

    logits: Tensor
    boxes: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Which queries of a stage learn which objects, over the batch.

    Attributes:
        query: (P,) int64 rows of the B * Q queries.
        object: (P,) int64 the object of each, numbered over the batch.
        left_out: (B * Q,) bool: the box lies in an ignore region; neither positive nor negative.
    """

    query: Tensor
    object: Tensor
    left_out: Tensor


@torch.no_grad()
def match(stages: Sequence[Predicted], batch: Batch, config: SetLoss) -> list[Pairs]:
    """Match every stage's queries with the objects of their images.

    Queries in an ignore region (``ignored.inside``) get no object, and objects in one no query.
    All stages and images wait for the device together, once.

    Raises:
        ValueError: there are not as many targets as images.
    """
    logits = torch.stack([stage.logits for stage in stages], 1)
    boxes = torch.stack([stage.boxes for stage in stages], 1)
    (_, count, queries, _), costs, left_out = boxes.shape, [], []
    for image, (target, size) in enumerate(zip(batch.targets, batch.sizes, strict=True)):
        rows = boxes[image].flatten(0, 1)
        cost = pair_costs(logits[image].flatten(0, 1), rows, target, size, config)
        out = inside(rows, target.ignore_boxes)
        never = out[:, None] | inside(target.boxes, target.ignore_boxes)
        costs.append(cost.masked_fill(never, torch.inf).reshape(count, queries, len(target.boxes)))
        left_out.append(out.reshape(count, queries))
    found = assign([cost for image in costs for cost in image])
    counts = [len(target.boxes) for target in batch.targets]
    return [
        _over_batch(found[stage::count], counts, torch.cat([out[stage] for out in left_out]))
        for stage in range(count)
    ]


def pair_costs(
    logits: Tensor, boxes: Tensor, target: Target, size: tuple[int, int], config: SetLoss
) -> Tensor:
    """Return the cost (N, G) of each query for each object of an image.

    Args:
        logits: (N, classes).
        boxes: (N, 4) xyxy, px.
        target: the objects.
        size: (height, width) of the image without its padding.
        config: weights of the parts.
    """
    whole = image_sides([size], boxes)
    own, wanted = (_measured(each, config) / whole for each in (boxes, target.boxes))
    l1 = torch.cdist(own, wanted, p=1)
    giou = every_giou(boxes, target.boxes)
    cls = _focal_cost(logits, config.focal)[:, target.labels]
    return config.classification * cls + config.l1 * l1 - config.giou * giou


def _measured(boxes: Tensor, config: SetLoss) -> Tensor:
    """Return the four numbers of boxes (N, 4) xyxy that the L1 distance is of."""
    return boxes if config.l1_of == "corners" else torch.cat(coders.centre_and_size(boxes), 1)


def image_sides(sizes: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """Return (B, 4) width, height, width, height of images of ``sizes`` (height, width)."""
    sides = [side for height, width in sizes for side in (width, height, width, height)]
    return constant(sides, like).reshape(-1, 4)


def _focal_cost(logits: Tensor, config: FocalLoss) -> Tensor:
    """Return how much more the focal loss (N, classes) is if the class is there than if not."""
    p, tiny = logits.sigmoid(), 1e-12
    present = -torch.log(p + tiny) * config.alpha * (1 - p) ** config.gamma
    absent = -torch.log(1 - p + tiny) * (1 - config.alpha) * p**config.gamma
    return present - absent


def assign(costs: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return the pairs of least cost in all of each table, copied to the host together.

    Args:
        costs: (N, G) each; what is not finite is never paired.

    Returns:
        rows (P,) and columns (P,) of each table, int64 on the host, rows ascending: min(N, G) if
        all costs are finite.
    """
    flat = torch.cat([cost.flatten() for cost in costs]).cpu()
    parts = torch.split(flat, [cost.numel() for cost in costs])
    return [_least(part.reshape(cost.shape)) for part, cost in zip(parts, costs, strict=True)]


def _least(cost: Tensor) -> tuple[Tensor, Tensor]:
    # here, as only training needs it: 35 MB and .4 s, which every other command would pay for
    from scipy.optimize import linear_sum_assignment

    table = cost.double().numpy()
    finite = np.isfinite(table)
    row, column = linear_sum_assignment(np.where(finite, table, _NEVER))
    allowed = finite[row, column]
    return torch.from_numpy(row[allowed]), torch.from_numpy(column[allowed])


def _over_batch(
    found: Sequence[tuple[Tensor, Tensor]], counts: Sequence[int], left_out: Tensor
) -> Pairs:
    """Return the pairs of the images of a stage, which have ``counts`` objects, on the device."""
    queries = len(left_out) // len(counts)
    rows = torch.cat([row + queries * image for image, (row, _) in enumerate(found)])
    objects = torch.cat([column + sum(counts[:i]) for i, (_, column) in enumerate(found)])
    both = torch.stack([rows, objects]).to(left_out.device, non_blocking=True)
    return Pairs(both[0], both[1], left_out)


def every_loss(stages: Sequence[Predicted], batch: Batch, config: SetLoss) -> dict[str, Tensor]:
    """Return ``loss_cls_1``, ``loss_l1_1``, ``loss_giou_1`` and so on, each stage matched anew.

    The matches of the first are reported.
    """
    matched = match(stages, batch, config)
    report(matched[0], batch)
    return {
        f"loss_{name}_{number}": value
        for number, (stage, pairs) in enumerate(zip(stages, matched, strict=True), 1)
        for name, value in set_losses(stage, pairs, batch, config).items()
    }


def set_losses(stage: Predicted, pairs: Pairs, batch: Batch, config: SetLoss) -> dict[str, Tensor]:
    """Return the losses ``cls``, ``l1`` and ``giou`` of a stage, weighted.

    All are divided by the number of pairs of the step.
    """
    logits, boxes = stage.logits.flatten(0, 1), stage.boxes.flatten(0, 1)[pairs.query]
    labels = torch.cat([target.labels for target in batch.targets])[pairs.object]
    wanted = torch.cat([target.boxes for target in batch.targets])[pairs.object]
    whole = image_sides(batch.sizes, boxes)[pairs.query // stage.logits.shape[1]]
    cls = losses.focal(logits, pairs.query, labels, config.focal, left_out=pairs.left_out)
    apart = _measured(boxes, config) - _measured(wanted, config)
    l1 = (apart / whole).abs().sum()
    giou = losses.giou_loss(boxes, wanted).sum()
    total = batch.step.total(len(pairs.query))
    return {
        "cls": cls * config.classification / total,
        "l1": l1 * config.l1 / total,
        "giou": giou * config.giou / total,
    }


def report(pairs: Pairs, batch: Batch) -> None:
    """Give ``batch.on_match`` the match (Q,) of each image's queries."""
    gt = torch.full_like(pairs.left_out, NEGATIVE, dtype=torch.int64)
    queries = len(gt) // len(batch.targets)
    counts = [len(target.boxes) for target in batch.targets]
    first = constant([sum(counts[:image]) for image in range(len(counts))], pairs.object)
    gt = gt.masked_fill(pairs.left_out, IGNORED)
    gt[pairs.query] = pairs.object - first[pairs.query // queries]
    for image in torch.split(gt, queries):
        batch.on_match(image)


def candidates(stage: Predicted, batch: Batch, keep: Keep) -> list[Candidates]:
    """Return the best pairs of query and class of each image, their boxes clipped to it."""
    found = []
    for logits, boxes in zip(stage.logits, stage.boxes, strict=True):
        scores, rows, labels = best_pairs(logits, keep.score, keep.max_per_patch)
        found.append(Candidates(boxes[rows], scores, labels, scores > keep.score))
    return postprocess.placed(found, batch.sizes)
