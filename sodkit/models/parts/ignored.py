"""Which anchors, points and proposals are neither positive nor negative.

Those in ignore regions, and those in padding that only a larger image of the batch adds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.nonzero import nonzero_each
from sodkit.models.kernels.rotated_iou import rotated_iou
from sodkit.models.parts.box_iou import area, intersection
from sodkit.models.parts.rotated_coders import enclosing, upright

_UPRIGHT = 1e-6
"""An oriented box that fills all but this share of its enclosing box is taken as that box."""

PAD = 32
"""The benchmark pads every image to a multiple of this before batches are made."""


def inside(boxes: Tensor, regions: Tensor) -> Tensor:
    """Return which boxes have more than half of their area inside one region.

    Exact for oriented boxes, too: what encloses a tilted region would hide what lies beside it.

    Args:
        boxes: (N, 4) xyxy, or (N, 5) oriented.
        regions: (I, 4) xyxy, or (I, 5) oriented.

    Returns:
        (N,) bool.
    """
    result = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    around, region_around = _around(boxes), _around(regions)
    half = area(boxes) / 2
    if boxes.shape[1] == 4 and regions.shape[1] == 4:
        for part in blocks(len(regions), len(boxes)):
            result |= (intersection(regions[part], boxes) > half).any(0)
        return result
    plain = (area(regions) >= (1 - _UPRIGHT) * area(region_around)) & (boxes.shape[1] == 4)
    if boxes.device.type != "cpu":
        return _inside_together(boxes, regions, plain)
    for part in blocks(len(regions), len(boxes)):
        near = intersection(region_around[part], around) > half
        result |= (near & plain[part, None]).any(0)
        if plain[part].all():
            continue
        region, box = torch.nonzero(near & ~plain[part, None] & ~result, as_tuple=True)
        shared = _intersection_of_pairs(regions[part][region], boxes[box])
        result[box[shared > half[box]]] = True
    return result


def _inside_together(boxes: Tensor, regions: Tensor, plain: Tensor) -> Tensor:
    """Do what ``inside`` does as on a device, which is waited for once.

    Args:
        boxes: as of ``inside``, all that could lie in a region are clipped.
        regions: as of ``inside``.
        plain: (I,) bool: the region and all boxes are upright.
    """
    around, region_around, half = _around(boxes), _around(regions), area(boxes) / 2
    parts = blocks(len(regions), len(boxes))
    near = [intersection(region_around[part], around) > half for part in parts]
    result = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    for part, mask in zip(parts, near, strict=True):
        result |= (mask & plain[part, None]).any(0)
    tilted = [mask & ~plain[part, None] for part, mask in zip(parts, near, strict=True)]
    for part, pairs in zip(parts, nonzero_each(tilted), strict=True):
        region, box = pairs.unbind(1)
        shared = _intersection_of_pairs(regions[part][region], boxes[box])
        result |= torch.zeros_like(half).index_add(0, box, (shared > half[box]).to(half)) > 0
    return result


def points_inside(points: Tensor, regions: Tensor) -> Tensor:
    """Return which points (N, 2) lie in a region, its border included.

    Args:
        points: (x, y).
        regions: (I, 4) xyxy, or (I, 5) oriented.

    Returns:
        (N,) bool.
    """
    result = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for part in blocks(len(regions), len(points)):
        result |= _holds(regions[part], points).any(0)
    return result


def _holds(regions: Tensor, points: Tensor) -> Tensor:
    """Return (I, N) bool: the region holds the point."""
    x, y = points.unbind(1)
    if regions.shape[1] == 4:
        x1, y1, x2, y2 = regions[:, :, None].unbind(1)
        return (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
    centre_x, centre_y, width, height, angle = regions[:, :, None].unbind(1)
    x, y, cos, sin = x - centre_x, y - centre_y, angle.cos(), angle.sin()
    return ((x * cos + y * sin).abs() <= width / 2) & ((y * cos - x * sin).abs() <= height / 2)


def in_padding(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Return which points (N, 2) lie beyond an image of ``size`` (height, width), padded alone.

    The padding that a larger image of the batch adds is no background to learn from.
    """
    own = constant(padded_alone(size)[::-1], points)
    return (points >= own).any(1)


def padded_alone(size: tuple[int, int]) -> tuple[int, int]:
    """Return what an image of ``size`` (height, width) is padded to without others beside it."""
    height, width = (-(-side // PAD) * PAD for side in size)
    return height, width


def _intersection_of_pairs(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection areas (N,) of boxes row by row, upright or oriented."""
    first, second = (boxes if boxes.shape[1] == 5 else upright(boxes) for boxes in (a, b))
    if a.device.type != "cpu":
        share = rotated_iou(first, second)
        return (share / (1 + share)).to(b.dtype) * (area(a) + area(b))
    iou = rotated_iou_pairs(first.double().cpu().numpy(), second.double().cpu().numpy())
    share = torch.from_numpy(iou / (1 + iou)).to(b)
    return share * (area(a) + area(b))


def _around(boxes: Tensor) -> Tensor:
    return boxes if boxes.shape[1] == 4 else enclosing(boxes)
