"""Anchors: boxes of fixed shapes on the grids of the pyramid's levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.settings.anchor_levels import AnchorLevel


def grid(
    size: tuple[int, int], levels: Sequence[AnchorLevel], device: torch.device | None = None
) -> list[Tensor]:
    """Return the anchors of every level, centred on (column * stride, row * stride).

    Args:
        size: (height, width) of the network's input, px; a level has ceil(height / stride) rows.
        levels: strides, and the sizes of the anchors at each location.
        device: where the tensors are made.

    Returns:
        for each level (rows * columns * sizes, 4) float32 xyxy, row by row, at each location in
        the order of the sizes.
    """
    return [_level(size, level, device) for level in levels]


def _level(size: tuple[int, int], level: AnchorLevel, device: torch.device | None) -> Tensor:
    (height, width), stride = size, level.stride
    half = torch.tensor(level.sizes).to(device, non_blocking=True) / 2
    ys = torch.arange(math.ceil(height / stride), device=device) * float(stride)
    xs = torch.arange(math.ceil(width / stride), device=device) * float(stride)
    centres = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).reshape(-1, 1, 2)
    return torch.cat([centres - half, centres + half], -1).reshape(-1, 4)
