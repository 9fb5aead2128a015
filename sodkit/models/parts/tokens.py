"""The cells of several levels as one sequence: where each is, and which are of the image.

Zhu et al., ICLR 2021, 4.1 and A.4. All follows from sizes that the host knows: nothing is waited
for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.level_sampling import Shapes

_TEMPERATURE = 10000.0
_TINY = 1e-6
"""What mmdetection adds to the length that positions are divided by."""


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """The N cells of the levels of B images: level by level, row by row.

    Attributes:
        shapes: rows and columns of each level, padding included.
        sides: (B, levels, 2) columns and rows that an image has cells in.
        inside: (B, N) bool: the cell is the image's, not padding.
        centre: (B, N, 2) (x, y) of the cell in parts of the image's sides; 1 and more in padding.
        code: (B, N, C) sines and cosines of the cell's place, those of y before those of x.
    """

    shapes: Shapes
    sides: Tensor
    inside: Tensor
    centre: Tensor
    code: Tensor


def arrange(
    shapes: Shapes,
    sizes: Sequence[tuple[int, int]],
    padded: tuple[int, int],
    channels: int,
    like: Tensor,
) -> Tokens:
    """Return the tokens of a batch.

    Args:
        shapes: rows and columns of each level.
        sizes: (height, width) of each image without its padding.
        padded: (height, width) of the batch.
        channels: of ``code``, a multiple of 4.
        like: what is made has its device, and its type.
    """
    sides = [
        cells(size[axis], padded[axis], shape[axis])
        for size in sizes
        for shape in shapes
        for axis in (1, 0)
    ]
    known = constant(sides, like).reshape(len(sizes), len(shapes), 2)
    levels = [
        _level(shape, known[:, level, :, None], channels) for level, shape in enumerate(shapes)
    ]
    inside, centre, code = (torch.cat(part, 1) for part in zip(*levels, strict=True))
    return Tokens(shapes, known, inside, centre, code)


def cells(size: int, padded: int, count: int) -> int:
    """Return how many of ``count`` cells along an axis are the image's.

    A cell is where its first pixel, rounded down, is one: as the nearest pixel of a mask.
    """
    return -(-size * count // padded)


def _level(shape: tuple[int, int], sides: Tensor, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``inside``, ``centre`` and ``code`` of a level, each (B, rows * columns, ...).

    Args:
        shape: rows and columns.
        sides: (B, 2, 1) columns and rows of the images.
        channels: of ``code``.
    """
    (rows, columns), images = shape, len(sides)
    numbers = torch.arange(max(shape), dtype=sides.dtype, device=sides.device)
    x, y = numbers[:columns], numbers[:rows]
    width, height = sides.unbind(1)
    inside = ((y < height)[:, :, None] & (x < width)[:, None]).flatten(1)
    grid = (images, rows, columns)
    across, down = ((x + 0.5) / width)[:, None].expand(grid), ((y + 0.5) / height)[..., None]
    centre = torch.stack([across, down.expand(grid)], -1).flatten(1, 2)
    vertical = waves(y, height, channels // 2)[:, :, None].expand(*grid, -1)
    horizontal = waves(x, width, channels // 2)[:, None].expand(*grid, -1)
    return inside, centre, torch.cat([vertical, horizontal], -1).flatten(1, 2)


def waves(number: Tensor, sides: Tensor, channels: int) -> Tensor:
    """Return sines (even channels) and cosines (odd ones) of places on an axis, (B, n, channels).

    The image's side is a full circle of the first two; padding has the code of the last cell.

    Args:
        number: (n,) of the cells.
        sides: (B, 1) cells of each image.
        channels: an even number.
    """
    count = torch.minimum(number + 1, sides)
    angle = (count - 0.5) / (sides + _TINY) * (2 * math.pi)
    pair = torch.arange(channels // 2, dtype=number.dtype, device=number.device)
    slow = angle[..., None] / _TEMPERATURE ** (2 * pair / channels)
    return torch.stack([slow.sin(), slow.cos()], -1).flatten(2)
