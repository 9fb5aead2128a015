"""Weighted sums of rows of a table, and their transpose: interpolation on the CPU.

Bilinear sampling of a feature map with its channels last is a weighted sum of rows of the table
(cells, channels). ``embedding_bag`` computes just that, in parallel and vectorised over channels,
in float32 and bfloat16; torchvision's operators are several times slower on the CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def gather(table: Tensor, index: Tensor, share: Tensor, offsets: Tensor) -> Tensor:
    """Return weighted sums of rows, without a gradient.

    Args:
        table: (cells, C).
        index: (E,) int32 rows of the table.
        share: (E,) weights, in the type of ``table``.
        offsets: (bags,) int32: sum b is over the entries from ``offsets[b]`` to the next one.

    Returns:
        (bags, C) in the type of ``table``; 0 for bags without entries.
    """
    return F.embedding_bag(index, table, offsets, mode="sum", per_sample_weights=share)


def scatter(target: Tensor, rows: Tensor, index: Tensor, share: Tensor, bag: Tensor) -> None:
    """Add the gradients of ``gather``'s sums to the gradient of its table, in place.

    The transposed gather: entries sorted by cell make the bags. Only the span of cells touched is
    written, so that many calls on parts of a map cost no more than one on all of it.

    Args:
        target: (cells, C) the table's gradient.
        rows: (bags, C) the sums' gradients.
        index: (E,) as for ``gather``.
        share: (E,) as for ``gather``.
        bag: (E,) int32 the sum that each entry belongs to.
    """
    if len(index) == 0:
        return
    # cell (E,) ascending, entry (E,) where it came from: a cell's entries are one bag
    cell, entry = index.sort(stable=True)
    if target.device.type != "cpu":
        target += gather(rows, bag[entry], share[entry], _offsets(cell, len(target)))
        return
    first, last = int(cell[0]), int(cell[-1])
    counts = torch.bincount(cell - first, minlength=last + 1 - first)
    offsets = (counts.cumsum(0) - counts).int()
    target[first : last + 1] += gather(rows, bag[entry], share[entry], offsets)


def _offsets(cell: Tensor, cells: int) -> Tensor:
    """Return where each cell's entries begin (cells,) in ``cell`` (E,) ascending, on a device.

    Of all cells, as a device would be waited for to learn the first and the last one.
    """
    every = torch.arange(cells, dtype=cell.dtype, device=cell.device)
    return torch.searchsorted(cell, every, out_int32=True)


class Gather(torch.autograd.Function):
    """``gather`` with a gradient for the table and, if it is asked for, for the shares."""

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, index: Tensor, share: Tensor, offsets: Tensor, bag: Tensor
    ) -> Tensor:
        """Return ``gather(table, index, share, offsets)``; ``bag`` as for ``scatter``."""
        # the shares' gradient is the only one that the table's values are needed for
        kept = (table, offsets) if ctx.needs_input_grad[2] else ()
        ctx.save_for_backward(index, share, bag, *kept)
        ctx.cells = len(table)
        return gather(table, index, share, offsets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor | None, None, None]:
        """Return the gradients of the table and of the shares."""
        index, share, bag, *kept = ctx.saved_tensors
        grad = grad.contiguous()
        target = grad.new_zeros(ctx.cells, grad.shape[1])
        scatter(target, grad, index, share, bag)
        if not kept:
            return target, None, None, None, None
        table, offsets = kept
        own = share.detach().requires_grad_()
        with torch.enable_grad():
            rows = gather(table.detach(), index, own, offsets)
        return target, None, torch.autograd.grad(rows, own, grad)[0], None, None


def cells(position: Tensor, size: int | Tensor) -> tuple[Tensor, Tensor]:
    """Return the two cells (..., 2) about positions (...,) on one axis, and their shares.

    As in RoIAlign: up to one cell outside of the map the outermost cell counts, beyond nothing.
    ``size`` is the number of cells, or that of each position.
    """
    inside = (position >= -1) & (position <= size)
    clamped = position.clamp(min=0).clamp(max=size - 1)
    low = clamped.floor()
    after = clamped - low
    share = torch.stack([1 - after, after], -1) * inside[..., None]
    cell = torch.stack([low, (low + 1).clamp(max=size - 1)], -1)
    return cell.long(), share


def neighbours(position: Tensor, size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the two cells about positions (...,) on one axis, and their shares, each (...,).

    Cells are int32, shares have a gradient for the position; what is off the axis has share 0.
    """
    first = position.detach().floor()
    after = position - first
    # places that diverged to NaN must lead to a loss that is NaN, not to an index error
    first = first.nan_to_num()
    low, high = _cell(first, size), _cell(first + 1, size)
    return (low[0], high[0]), ((1 - after) * low[1], after * high[1])


def _cell(cell: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return whole numbers as int32 cells of an axis, and whether they are on it."""
    return cell.clamp(0, size - 1).int(), (cell >= 0) & (cell < size)
