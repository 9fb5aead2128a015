"""Which cell learns which object, by what it would cost with the predictions as they are.

SimOTA (Ge et al., YOLOX, 2021, 2.1): optimal transport of labels to cells (OTA, CVPR 2021) made
simple. Each object takes the cells that suit it best; how many, its overlap with them says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sodkit.data.batches import Target
from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.box_iou import every_iou
from sodkit.models.parts.matchers import IGNORED
from sodkit.settings.yolox import SimOta

_FAR = 1e5
"""Cost of a cell that is not both in the object and near its centre: it is taken last."""

_LEAST_LOG = -100.0
"""Of a share in the binary cross-entropy, as torch has it."""

_TINY = 1e-7
"""Added to an IoU before its logarithm."""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The cells of all levels.

    Attributes:
        middle: (N, 2) x, y in px of the input.
        stride: (N,) of its level.
    """

    middle: Tensor
    stride: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What is predicted in N cells of an image, without gradients.

    Attributes:
        boxes: (N, 4) xyxy in px of the input.
        logits: (N, classes).
        objectness: (N,) logits.
    """

    boxes: Tensor
    logits: Tensor
    objectness: Tensor

    def take(self, rows: Tensor) -> Predicted:
        """Return those of some cells."""
        return Predicted(self.boxes[rows], self.logits[rows], self.objectness[rows])


def match_each(
    cells: Cells,
    predicted: Sequence[Predicted],
    targets: Sequence[Target],
    ignored: Sequence[Tensor],
    config: SimOta,
) -> list[Tensor]:
    """Match cells to objects in each image; a device is waited for once.

    An object's cells are those that cost it least; one that several objects want goes to the object
    that it costs least of all. So an object may be left without.

    Args:
        cells: N cells of all levels.
        predicted: of each image.
        targets: of each image; boxes have sides > 0.
        ignored: (N,) bool of each image: cells that are neither positive nor negative.
        config: reach, number and weight.

    Returns:
        for each image (N,) int64: index of an object, ``NEGATIVE`` or ``IGNORED``.
    """
    masks = [
        may_learn(cells, target.boxes, config.radius) & ~out
        for target, out in zip(targets, ignored, strict=True)
    ]
    found = []
    for one, target, out, rows in zip(predicted, targets, ignored, rows_each(masks), strict=True):
        few = Cells(cells.middle[rows], cells.stride[rows])
        match = torch.full_like(out, NEGATIVE, dtype=torch.int64).masked_fill(out, IGNORED)
        found.append(match.index_put((rows,), _match(few, one.take(rows), target, config)))
    return found


def may_learn(cells: Cells, boxes: Tensor, radius: float) -> Tensor:
    """Return (N,) bool: the cell's middle is in an object, or near the centre of one."""
    result = torch.zeros_like(cells.stride, dtype=torch.bool)
    for part in blocks(len(boxes), len(result)):
        within, near = _places(cells, boxes[part], radius)
        result |= (within | near).any(0)
    return result


def _places(cells: Cells, boxes: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Return (G, N) bool twice: the cell's middle is in the object; and near its centre."""
    (x, y), reach = cells.middle.unbind(1), cells.stride * radius
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    within = (x > x1) & (x < x2) & (y > y1) & (y < y2)
    near = ((x - (x1 + x2) / 2).abs() < reach) & ((y - (y1 + y2) / 2).abs() < reach)
    return within, near


def _match(cells: Cells, predicted: Predicted, target: Target, config: SimOta) -> Tensor:
    """Return for R cells that may learn (R,) int64 the object, or ``NEGATIVE``."""
    count = len(cells.stride)
    wanted = torch.zeros(count, dtype=torch.int64, device=cells.stride.device)
    taker, cheapest = (torch.full_like(wanted, NEGATIVE) for _ in range(2))
    least = torch.full_like(cells.stride, torch.inf, dtype=predicted.boxes.dtype)
    most = min(config.candidates, count)
    classes = _class_costs(predicted)
    for part in blocks(len(target.boxes), count):
        boxes = target.boxes[part].to(predicted.boxes.dtype)
        iou = every_iou(boxes, predicted.boxes)
        within, near = _places(cells, boxes, config.radius)
        cost = classes[target.labels[part]] - config.iou_weight * (iou + _TINY).log()
        cost = cost + _FAR * ~(within & near)
        number = iou.topk(most, 1).values.sum(1).long().clamp(min=1)
        rows = cost.topk(most, 1, largest=False).indices
        takes = torch.arange(most, device=rows.device) < number[:, None]
        taken = torch.zeros_like(within).scatter_(1, rows, takes)
        index = torch.arange(part.start, part.stop, device=rows.device)[:, None]
        wanted += taken.sum(0)
        taker = torch.maximum(taker, torch.where(taken, index, NEGATIVE).amax(0))
        low, place = cost.min(0)
        cheapest = torch.where(low < least, place + part.start, cheapest)
        least = torch.minimum(least, low)
    return torch.where(wanted > 1, cheapest, taker)


def _class_costs(predicted: Predicted) -> Tensor:
    """Return (classes, R) the cross-entropy of a cell's scores if it had an object of the class.

    A score is the geometric mean of class score and objectness. As the cross-entropy is a sum over
    classes, that of all classes being absent is taken, and one term exchanged.
    """
    logits, objectness = predicted.logits.T, predicted.objectness
    share = (logits.sigmoid() * objectness.sigmoid()).sqrt()
    present = (F.logsigmoid(logits) + F.logsigmoid(objectness)) / 2
    absent = torch.log1p(-share).clamp(min=_LEAST_LOG)
    return absent - present.clamp(min=_LEAST_LOG) - absent.sum(0)
