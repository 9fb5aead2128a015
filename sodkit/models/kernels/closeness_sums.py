"""How near each of many numbers is to the others of its group, without a table of all pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sodkit.models.kernels.blocks import blocks


def closeness_sums(values: Tensor, group: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of max(0, 1 - |difference|) to the others of its group, and their number.

    Pairs are compared in blocks, forwards and backwards: memory grows with the numbers, not with
    their square.

    Args:
        values: (G,) float; the sums have a gradient for them.
        group: (G,) int64.
        used: (G,) bool: others have and are no partners.

    Returns:
        sums (G,) and numbers (G,) int64, both 0 where a number has no partner.
    """
    count = torch.zeros_like(group)
    for rows in blocks(len(group), len(group)):
        count[rows] = _partners(group, used, rows).sum(1)
    sums: Tensor = _Sums.apply(values, group, used)
    return sums, count


def _partners(group: Tensor, used: Tensor, rows: slice) -> Tensor:
    """Return (k, G) bool: the two numbers are different ones of a group, and both used."""
    number = torch.arange(len(group), device=group.device)
    both = (group[rows, None] == group) & used[rows, None] & used
    return both & (number[rows, None] != number)


class _Sums(torch.autograd.Function):
    """The sums of ``closeness_sums``, with their gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Tensor, used: Tensor) -> Tensor:
        """Return the sums (G,)."""
        ctx.save_for_backward(values, group, used)
        sums = torch.zeros_like(values)
        for rows in blocks(len(values), len(values)):
            near = (1 - (values[rows, None] - values).abs()).relu()
            sums[rows] = (near * _partners(group, used, rows)).sum(1)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the values: a pair is in the sums of both of its numbers."""
        values, group, used = ctx.saved_tensors
        found = torch.zeros_like(values)
        for rows in blocks(len(values), len(values)):
            shift = values[rows, None] - values
            near = _partners(group, used, rows) & (shift.abs() < 1)
            found[rows] = -(shift.sign() * near * (grad[rows, None] + grad)).sum(1)
        return found, None, None
