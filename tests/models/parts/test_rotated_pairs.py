"""Which upright boxes overlap, found block by block."""

from __future__ import annotations

import torch

from sodkit.models.kernels.blocks import CELLS
from sodkit.models.parts.rotated_pairs import touching_each, touching_together


def _random(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 300
    return torch.cat([low, low + 1 + 20 * torch.rand(count, 2, generator=generator)], 1)


def test_each_table_has_the_pairs_of_all_its_blocks() -> None:
    boxes, others = _random(40_000, 0), _random(60, 1)
    assert boxes.shape[0] * others.shape[0] > 2 * CELLS
    tables = [(boxes, others), (boxes[:5], others[:0]), (boxes[:0], others), (boxes[:90], others)]
    for (box, other), (row, column) in zip(tables, touching_together(tables), strict=True):
        expected = []
        for number, (x1, y1, x2, y2) in enumerate(other.tolist()):
            near = (box[:, 0] < x2) & (box[:, 2] > x1) & (box[:, 1] < y2) & (box[:, 3] > y1)
            expected += [(one, number) for one in torch.nonzero(near)[:, 0].tolist()]
        assert list(zip(row.tolist(), column.tolist(), strict=True)) == expected


def test_without_boxes_there_are_no_pairs() -> None:
    none = torch.zeros(0, 4)
    ((row, column),) = touching_each([(none, none)])
    assert row.shape == column.shape == (0,)
    assert touching_each([]) == []
    assert touching_together([]) == []


def test_the_host_finds_what_a_device_does_in_the_same_order() -> None:
    boxes, others = _random(2000, 2), _random(60, 3)
    tables = [(boxes, others), (boxes, others[:0]), (boxes[:70].bfloat16(), others.bfloat16())]
    for found, wanted in zip(touching_each(tables), touching_together(tables), strict=True):
        assert all(torch.equal(*pair) for pair in zip(found, wanted, strict=True))
