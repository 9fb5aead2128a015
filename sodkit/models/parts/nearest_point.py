"""Each object is learnt by one location, the nearest one on its level (RepPoints, first stage)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.constants import constant
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.coders import centre_and_size

_SHORTEST = 1e-6
"""px: shorter sides are taken as this long."""


def match_nearest(
    boxes: Tensor,
    shapes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    scale: float,
    size: tuple[int, int],
) -> Tensor:
    """Return the match (N,) int64 of every location: an object, or ``NEGATIVE``.

    The level of an object has the stride that its mean side, sqrt(w * h), divided by ``scale``,
    rounds down to. Distances to its centre are measured in parts of its sides. Of several objects
    with the same nearest location the nearest has it, of equally near ones the first, and the
    others have none (Yang et al., ICCV 2019, 3.2).

    Args:
        boxes: (G, 4) xyxy in px.
        shapes: (rows, columns) of each level; locations are at (column * stride, row * stride).
        strides: of the levels, powers of two, each twice the one before.
        scale: mean side of an object in strides of its level.
        size: (height, width) in px within which locations are used.
    """
    centre, side = centre_and_size(boxes)
    side = side.clamp(min=_SHORTEST)
    power = (torch.log2(side / scale).sum(1) / 2).trunc()
    level = (power - constant(strides[:1], power).log2()).clamp(0, len(strides) - 1).long()
    stride = constant(strides, centre)[level, None]
    # Nearest in x and nearest in y is nearest: no table of all distances is needed. Half-way
    # between two locations the first is taken.
    last = constant([side - 1 for shape in shapes for side in reversed(shape)], centre)
    used = (constant(size[::-1], centre) / stride).ceil() - 1
    last = torch.minimum(last.reshape(-1, 2)[level], used)
    cell = torch.minimum((centre / stride - 0.5).ceil().clamp(min=0), last)
    distance = ((cell * stride - centre) / side).norm(dim=1)
    counts = [rows * columns for rows, columns in shapes]
    first = constant([sum(counts[:number]) for number in range(len(counts))], level)[level]
    width = constant([columns for _, columns in shapes], level)[level]
    place = first + cell[:, 1].long() * width + cell[:, 0].long()
    number = torch.arange(len(boxes), device=boxes.device)
    beaten = _beaten(place, distance, number)
    # one place more takes those that are beaten: each is written at most once to all others
    found = torch.full((sum(counts) + 1,), NEGATIVE, device=boxes.device)
    found[torch.where(beaten, sum(counts), place)] = number.masked_fill(beaten, NEGATIVE)
    return found[:-1]


def _beaten(place: Tensor, distance: Tensor, number: Tensor) -> Tensor:
    """Return which objects (G,) another one keeps from their place."""
    result = torch.zeros_like(place, dtype=torch.bool)
    for part in blocks(len(place), len(place)):
        gap = distance[part, None] - distance
        nearer = (gap > 0) | ((gap == 0) & (number[part, None] > number))
        result[part] = ((place[part, None] == place) & nearer).any(1)
    return result
