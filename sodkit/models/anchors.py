"""Anchors: boxes of fixed shapes on the grids of the pyramid's levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def grid(
    height: int,
    width: int,
    strides: Sequence[int],
    scale: float,
    ratios: Sequence[float] = (1.0,),
    device: torch.device | None = None,
) -> list[Tensor]:
    """Return the anchors of every level, centred on (column * stride, row * stride).

    Args:
        height: of the network's input, px; level l has ceil(height / stride) rows.
        width: of the network's input, px.
        strides: of the levels, px.
        scale: an anchor of ratio 1 has sides of scale * stride px; all have that area.
        ratios: height / width of the anchors of a location.
        device: where the tensors are made.

    Returns:
        for each level (rows * columns * len(ratios), 4) float32 xyxy, row by row, at each location
        in the order of the ratios.
    """
    return [_level(height, width, stride, scale, ratios, device) for stride in strides]


def _level(
    height: int,
    width: int,
    stride: int,
    scale: float,
    ratios: Sequence[float],
    device: torch.device | None,
) -> Tensor:
    side = scale * stride
    roots = torch.tensor([math.sqrt(r) for r in ratios], device=device)
    half = torch.stack([side / roots, side * roots], 1) / 2
    ys = torch.arange(math.ceil(height / stride), device=device) * float(stride)
    xs = torch.arange(math.ceil(width / stride), device=device) * float(stride)
    centres = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).reshape(-1, 1, 2)
    return torch.cat([centres - half, centres + half], -1).reshape(-1, 4)
