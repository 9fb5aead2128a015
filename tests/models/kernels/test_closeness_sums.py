"""Sums over pairs in blocks against one table of all pairs, with gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sodkit.models.kernels.closeness_sums import closeness_sums


def at_once(values: Tensor, group: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums and numbers by a table of all pairs."""
    others = (group[:, None] == group) & used[:, None] & used
    others = others & ~torch.eye(len(group), dtype=torch.bool)
    return ((1 - (values[:, None] - values).abs()).relu() * others).sum(1), others.sum(1)


@pytest.mark.parametrize("cells", [2**20, 100])
def test_in_blocks_as_at_once(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", cells)
    rng = torch.Generator().manual_seed(0)
    values = 2 * torch.randn(40, generator=rng, dtype=torch.float64)
    values[7] = values[3]
    values[8] = values[3] + 1
    group = torch.arange(40) % 3 + 5
    used = torch.rand(40, generator=rng) < 0.8
    weight = torch.randn(40, generator=rng, dtype=torch.float64)
    results = []
    for way in (closeness_sums, at_once):
        own = values.clone().requires_grad_()
        sums, count = way(own, group, used)
        (sums * weight).sum().backward()
        results.append((sums.detach(), count, own.grad))
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert (results[0][0] > 0).sum() > 20


def test_of_nothing_there_are_no_sums() -> None:
    none = torch.zeros(0, requires_grad=True)
    sums, count = closeness_sums(none, torch.zeros(0, dtype=torch.int64), none.bool())
    assert sums.shape == count.shape == (0,)
    sums.sum().backward()
