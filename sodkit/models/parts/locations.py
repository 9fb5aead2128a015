"""Where the points of RepPoints and its relatives are placed from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sodkit.data.batches import Target
from sodkit.models.parts import ignored, points
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.nearest_point import match_nearest


@dataclass(frozen=True, slots=True, eq=False)
class Locations:
    """The locations of all levels, (column * stride, row * stride): there is no half step.

    Attributes:
        at: (N, 2) (x, y) in px.
        stride: (N, 1) of their level, px.
        level: (N,) int64, 0 the finest.
        shapes: (rows, columns) of each level.
    """

    at: Tensor
    stride: Tensor
    level: Tensor
    shapes: tuple[tuple[int, int], ...]


def grid(size: tuple[int, int], strides: tuple[int, ...], device: torch.device) -> Locations:
    """Return the locations of levels for a network's input of ``size`` (height, width) px."""
    levels = points.grid(size, strides, device, offset=0.0)
    height, width = size
    shapes = tuple((-(-height // stride), -(-width // stride)) for stride in strides)
    stride = points.spread(strides, levels)[:, None]
    level = points.spread(range(len(strides)), levels).long()
    return Locations(torch.cat(levels), stride, level, shapes)


def match_locations(
    locations: Locations,
    target: Target,
    size: tuple[int, int],
    strides: tuple[int, ...],
    scale: float,
) -> Tensor:
    """Return the match (N,) of every location: the objects it is nearest to, see ``match_nearest``.

    Locations in an ignore region, and in padding that only a larger image adds, are ignored.

    Args:
        locations: of all levels.
        target: of the image.
        size: (height, width) of the image, px.
        strides: of the levels.
        scale: mean side of an object in strides of its level.
    """
    own = ignored.padded_alone(size)
    gt = match_nearest(target.boxes, locations.shapes, strides, scale, own)
    left_out = ignored.points_inside(locations.at, target.ignore_boxes)
    return gt.masked_fill(left_out | ignored.in_padding(locations.at, size), IGNORED)
