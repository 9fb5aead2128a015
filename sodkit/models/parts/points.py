"""Points: locations of the pyramid that boxes are measured from (Tian et al., FCOS, ICCV 2019).

::

        x1        x          x2
    y1  +---------+----------+       a box is the distances (left, top, right, bottom) of a point
        |         | top      |       in it to its sides; centerness is 1 in the middle, 0 on a side
     y  +- left --o- right --+
        |         | bottom   |
    y2  +---------+----------+
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def grid(
    size: tuple[int, int],
    strides: Sequence[int],
    device: torch.device | None = None,
    *,
    offset: float = 0.5,
) -> list[Tensor]:
    """Return the points of every level, ((column + offset) * stride, (row + offset) * stride).

    Args:
        size: (height, width) of the network's input, px; a level has ceil(height / stride) rows.
        strides: of the levels.
        device: where the tensors are made.
        offset: place of the point in its cell, in strides: .5 is the middle, 0 the top left corner.

    Returns:
        for each level (rows * columns, 2) float32 (x, y), row by row.
    """
    found = []
    for stride in strides:
        rows, columns = (math.ceil(side / stride) for side in size)
        ys = (torch.arange(rows, device=device) + offset) * stride
        xs = (torch.arange(columns, device=device) + offset) * stride
        found.append(torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).reshape(-1, 2).float())
    return found


def spread(values: Sequence[float], levels: Sequence[Tensor]) -> Tensor:
    """Return for each point (N,) the value of its level.

    Args:
        values: one a level.
        levels: (N_l, 2) the points of each, which come one after the other.
    """
    each = zip(values, levels, strict=True)
    return torch.cat([level.new_full((len(level),), value) for value, level in each])


def distances(points: Tensor, boxes: Tensor) -> Tensor:
    """Return left, top, right, bottom (..., 4) from points (..., 2) to the sides of xyxy boxes.

    Negative where the point lies beyond that side.
    """
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], -1)


def boxes_around(points: Tensor, sides: Tensor) -> Tensor:
    """Return the boxes (..., 4) xyxy with ``sides`` (..., 4), as ``distances``, about points."""
    return torch.cat([points - sides[..., :2], points + sides[..., 2:]], -1)


def centerness(sides: Tensor) -> Tensor:
    """Return the centerness (...,) in [0, 1] of points with distances (..., 4) > 0.

    The square root of min(l, r) / max(l, r) * min(t, b) / max(t, b) (FCOS, Eq. 3).
    """
    near = torch.minimum(sides[..., :2], sides[..., 2:])
    far = torch.maximum(sides[..., :2], sides[..., 2:])
    return (near / far).prod(-1).sqrt()
