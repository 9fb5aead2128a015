"""The pairs of oriented boxes that overlap: of many boxes and objects only a few do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sodkit.models.kernels.blocks import blocks
from sodkit.models.parts.box_iou import area, paired_iou
from sodkit.models.parts.rotated_coders import enclosing


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Boxes and objects whose enclosing boxes touch, as columns over P pairs.

    Attributes:
        box: (P,) int64.
        other: (P,) int64.
        iou: (P,) float32, exact but for rounding; 0 where only the enclosing boxes touch.
    """

    box: Tensor
    other: Tensor
    iou: Tensor

    def intersection(self, boxes: Tensor, others: Tensor) -> Tensor:
        """Return the intersection areas (P,) of the pairs of ``boxes`` and ``others``."""
        return self.iou / (1 + self.iou) * (area(boxes)[self.box] + area(others)[self.other])


def touching_pairs(boxes: Sequence[Tensor], others: Sequence[Tensor]) -> list[Pairs]:
    """Return the pairs of each tensor of ``boxes`` with the one of ``others`` in its place.

    A device is waited for once, whatever the number of tensors: the pairs are counted first, as a
    list of known length needs no wait. Time grows with boxes x others, memory with the pairs.

    Args:
        boxes: (N, 5) oriented, a tensor each image.
        others: (G, 5) oriented, a tensor each image.
    """
    both = list(zip(boxes, others, strict=True))
    # images may share their boxes, as anchors on a grid
    around = {key: enclosing(one) for key, one in {id(one): one for one in boxes}.items()}
    parts = [
        (image, part, enclosing(other[part]), around[id(box)])
        for image, (box, other) in enumerate(both)
        for part in blocks(len(other), len(box))
    ]
    if not parts:
        return [_pairs(*one, [], []) for one in both]
    counts = torch.stack([_touching(near, every).sum() for _, _, near, every in parts]).tolist()
    rows: list[list[Tensor]] = [[] for _ in others]
    columns: list[list[Tensor]] = [[] for _ in others]
    for (image, part, near, every), count in zip(parts, counts, strict=True):
        found = torch.nonzero_static(_touching(near, every), size=count)
        rows[image].append(found[:, 1])
        columns[image].append(found[:, 0] + part.start)
    return [_pairs(*one, *where) for one, *where in zip(both, rows, columns, strict=True)]


def _pairs(boxes: Tensor, others: Tensor, row: list[Tensor], column: list[Tensor]) -> Pairs:
    none = torch.zeros(0, dtype=torch.int64, device=boxes.device)
    box, other = torch.cat([none, *row]), torch.cat([none, *column])
    return Pairs(box, other, paired_iou(boxes[box], others[other]))


def _touching(a: Tensor, b: Tensor) -> Tensor:
    """Return (A, B) bool: the upright boxes (A, 4) and (B, 4) overlap."""
    near = (a[:, 0, None] < b[:, 2]) & (b[:, 0] < a[:, 2, None])
    return near & (a[:, 1, None] < b[:, 3]) & (b[:, 1] < a[:, 3, None])
