"""The pairs of oriented boxes that overlap: of many boxes and objects only a few do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sodkit.geometry.touching import Runs
from sodkit.models.kernels.blocks import blocks
from sodkit.models.parts.box_iou import area, paired_iou, touching
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
    list of known length needs no wait. There the time grows with boxes x others, memory with the
    pairs.

    Args:
        boxes: (N, 5) oriented, a tensor each image.
        others: (G, 5) oriented, a tensor each image.
    """
    both = list(zip(boxes, others, strict=True))
    # images may share their boxes, as anchors on a grid
    around = {key: enclosing(one) for key, one in {id(one): one for one in boxes}.items()}
    found = touching_each([(around[id(box)], enclosing(other)) for box, other in both])
    return [
        Pairs(row, column, paired_iou(box[row], other[column]))
        for (box, other), (row, column) in zip(both, found, strict=True)
    ]


def touching_each(tables: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Return the indices (P,) int64 of all pairs of upright boxes that overlap, in each table.

    On the CPU neighbours are looked at together. A device is waited for once.

    Args:
        tables: boxes (N, 4) and others (G, 4), xyxy.

    Returns:
        for each the boxes and the others, sorted by the other one, then by the box.
    """
    if tables and tables[0][0].device.type != "cpu":
        return touching_together(tables)
    # images may share their boxes, whose runs are made once then
    own = {id(boxes): boxes for boxes, _ in tables}
    runs = {key: Runs.of(boxes.detach().double().numpy()) for key, boxes in own.items()}
    found = [runs[id(boxes)].pairs(others.detach().double().numpy()) for boxes, others in tables]
    return [(torch.from_numpy(box), torch.from_numpy(other)) for box, other in found]


def touching_together(tables: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Do what ``touching_each`` does as on a device: all boxes are compared with all others."""
    parts = [
        (table, part, around, others[part])
        for table, (around, others) in enumerate(tables)
        for part in blocks(len(others), len(around))
    ]
    known, sizes = _counts(parts), [0] * len(tables)
    for (table, *_), count in zip(parts, known, strict=True):
        sizes[table] += count
    # what outlives a turn is made before the large arrays: kept between them it splits the heap
    pairs = [
        around.new_empty(2, size, dtype=torch.int64)
        for size, (around, _) in zip(sizes, tables, strict=True)
    ]
    filled = [0] * len(tables)
    for (table, part, around, near), count in zip(parts, known, strict=True):
        here = slice(filled[table], filled[table] + count)
        other, box = torch.nonzero_static(touching(near, around), size=count).unbind(1)
        pairs[table][0, here], pairs[table][1, here] = box, other + part.start
        filled[table] += count
    return [(box, other) for box, other in pairs]


def _counts(parts: Sequence[tuple[int, slice, Tensor, Tensor]]) -> list[int]:
    """Return the number of pairs in each block of boxes and others; a device is waited for once."""
    if not parts:
        return []
    counts = parts[0][2].new_empty(len(parts), dtype=torch.int64)
    for number, (_, _, around, near) in enumerate(parts):
        counts[number] = touching(near, around).sum()
    found: list[int] = counts.tolist()
    return found
