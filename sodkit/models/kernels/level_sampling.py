"""Weighted sums of samples of several feature maps: what deformable attention reads.

Zhu et al., ICLR 2021, Eq. 3. On the CPU a sum is one gathered sum of rows (``gather.py``), in
blocks of bounded memory; no sample is ever stored. Elsewhere samples are read by ``grid_sample``,
level by level. Both give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sodkit.models.kernels.gather import gather, neighbours, scatter

Shapes = tuple[tuple[int, int], ...]
"""Rows and columns of each level."""

_CORNERS = 4
_ENTRIES = 2**19
"""Cells that are read at a time (measured at 100 x 100 cells: four times as many are a third slower
backwards, where they are sorted)."""


def sample_levels(values: Tensor, shapes: Shapes, places: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over levels and points of weight times sample, (B, Q, heads, D).

    Between the centres of cells samples are bilinear; what lies outside of a level is 0.

    Args:
        values: (B, N, heads, D) of the cells of all levels, level by level, row by row.
        shapes: of the levels.
        places: (B, Q, heads, levels, points, 2) float32: (x, y) in cells of the level from the
            centre of its first cell.
        weights: (B, Q, heads, levels, points) float32.
    """
    if values.device.type == "cpu" and not torch.compiler.is_compiling():
        return sample_levels_gather(values, shapes, places, weights)
    return sample_levels_grid(values, shapes, places, weights)


def sample_levels_grid(values: Tensor, shapes: Shapes, places: Tensor, weights: Tensor) -> Tensor:
    """Compute the sums by grid sampling (see ``sample_levels``)."""
    batch, _, heads, depth = values.shape
    queries, kind = places.shape[1], places.dtype
    result = torch.zeros(batch * heads, depth, queries, dtype=kind, device=values.device)
    parts = torch.split(values, [rows * columns for rows, columns in shapes], 1)
    # (B, Q, heads, levels, points, ...) -> (levels, B * heads, Q, points, ...)
    at = places.permute(3, 0, 2, 1, 4, 5).flatten(1, 2)
    factors = weights.permute(3, 0, 2, 1, 4).flatten(1, 2)
    for part, (rows, columns), place, factor in zip(parts, shapes, at, factors, strict=True):
        level = part.permute(0, 2, 3, 1).reshape(batch * heads, depth, rows, columns)
        # -1 and 1 are the outer edges of the first and the last cell
        grid = torch.stack(
            [(2 * place[..., 0] + 1) / columns - 1, (2 * place[..., 1] + 1) / rows - 1], -1
        )
        samples = F.grid_sample(level.to(kind), grid, align_corners=False)
        result = result + (samples * factor[:, None]).sum(-1)
    return result.reshape(batch, heads, depth, queries).permute(0, 3, 1, 2).to(values.dtype)


def sample_levels_gather(values: Tensor, shapes: Shapes, places: Tensor, weights: Tensor) -> Tensor:
    """Compute the sums by gathering (see ``sample_levels``)."""
    result: Tensor = _SampleLevels.apply(values, shapes, places, weights)
    return result


class _SampleLevels(torch.autograd.Function):
    """``sample_levels`` with gradients of values, places and weights."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, shapes: Shapes, places: Tensor, weights: Tensor
    ) -> Tensor:
        """Return (B, Q, heads, D); keeps only its inputs."""
        ctx.save_for_backward(values, places, weights)
        ctx.shapes = shapes
        result = values.new_empty(*places.shape[:3], values.shape[-1])
        for image, part in _blocks(places):
            index, share = _entries(shapes, places[image, part], weights[image, part])
            result[image, part] = _sums(values[image], index, share).reshape(
                result[image, part].shape
            )
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients; cells and shares are found again, not kept."""
        values, places, weights = ctx.saved_tensors
        depth = values.shape[-1]
        values_grad = torch.zeros_like(values, memory_format=torch.contiguous_format)
        places_grad, weights_grad = torch.empty_like(places), torch.empty_like(weights)
        for image, part in _blocks(places):
            own = [one[image, part].detach().requires_grad_() for one in (places, weights)]
            rows = grad[image, part].reshape(-1, depth)
            with torch.enable_grad():
                index, share = _entries(ctx.shapes, own[0], own[1])
                sums = _sums(values[image].detach(), index, share)
            places_grad[image, part], weights_grad[image, part] = torch.autograd.grad(
                sums, own, rows
            )
            bag = torch.arange(len(rows), dtype=torch.int32).repeat_interleave(index.shape[1])
            table = values_grad[image].view(-1, depth)
            scatter(table, rows, index.flatten(), share.detach().to(rows).flatten(), bag)
        return values_grad, None, places_grad, weights_grad


def _blocks(places: Tensor) -> Iterator[tuple[int, slice]]:
    """Yield image and block of queries."""
    batch, queries, *more = places.shape[:-1]
    count = max(1, _ENTRIES // (_CORNERS * torch.Size(more).numel()))
    for image in range(batch):
        for start in range(0, queries, count):
            yield image, slice(start, min(start + count, queries))


def _sums(values: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Return the sums (bags, D) of the cells and heads (N, heads, D) of an image."""
    offsets = torch.arange(0, index.numel(), index.shape[1], dtype=torch.int32)
    table = values.reshape(-1, values.shape[-1])
    return gather(table, index.flatten(), share.to(table.dtype).flatten(), offsets)


def _entries(
    shapes: Sequence[tuple[int, int]], places: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return which rows of the table of cells and heads each sum is made of, and their shares.

    Args:
        shapes: of the levels.
        places: (n, heads, levels, points, 2).
        weights: (n, heads, levels, points).

    Returns:
        index (n * heads, levels * points * 4) int32, and share of the same shape, 0 for cells
        outside.
    """
    heads, first, indices, shares = places.shape[1], 0, [], []
    head = torch.arange(heads, dtype=torch.int32)[:, None]
    for level, (rows, columns) in enumerate(shapes):
        x, y = places[:, :, level].unbind(-1)
        at_x, share_x = neighbours(x, columns)
        at_y, share_y = neighbours(y, rows)
        for row, part in zip(at_y, share_y, strict=True):
            weighted, before = part * weights[:, :, level], first + row * columns
            indices += [(before + column) * heads + head for column in at_x]
            shares += [weighted * share for share in share_x]
        first += rows * columns
    index, share = torch.stack(indices, -1), torch.stack(shares, -1)
    return index.reshape(len(index) * heads, -1), share.reshape(len(share) * heads, -1)
