"""Which anchors, points and proposals are neither positive nor negative.

Those in ignore regions, and those in padding that only a larger image of the batch adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sodkit.data.batches import Target
from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.rotated_iou import PAIRS, rotated_iou
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
        regions: (I, 4) xyxy, or (I, 5) oriented; or the result (N,) bool, where ``inside_each``
            has found it already.

    Returns:
        (N,) bool.
    """
    if regions.dtype == torch.bool:
        return regions
    if boxes.shape[1] == 4 and regions.shape[1] == 4:
        return _upright_inside(boxes, regions)
    if boxes.device.type != "cpu":
        return inside_together([boxes], [regions])[0]
    around, region_around = _around(boxes), _around(regions)
    half, plain = area(boxes) / 2, _is_plain(boxes, regions)
    result = torch.zeros(len(boxes), dtype=torch.bool)
    for part in blocks(len(regions), len(boxes)):
        near = intersection(region_around[part], around) > half
        result |= (near & plain[part, None]).any(0)
        if plain[part].all():
            continue
        region, box = torch.nonzero(near & ~plain[part, None] & ~result, as_tuple=True)
        shared = _intersection_of_pairs(regions[part][region], boxes[box])
        result[box[shared > half[box]]] = True
    return result


def inside_each(boxes: Sequence[Tensor], regions: Sequence[Tensor]) -> list[Tensor]:
    """Return ``inside`` of the boxes and regions of each image; a device is waited for once."""
    pairs = list(zip(boxes, regions, strict=True))
    tilted = any(5 in (one.shape[-1], other.shape[-1]) for one, other in pairs)
    known = all(one.dtype == torch.bool for one in regions)
    if tilted and not known and boxes[0].device.type != "cpu":
        return inside_together(boxes, regions)
    return [inside(one, other) for one, other in pairs]


def settled(boxes: Sequence[Tensor], targets: Sequence[Target]) -> list[Target]:
    """Return targets for matching the boxes of each image: what is ignored is found out for all.

    In place of their ignore regions they have (N,) bool, the result of ``inside_each``.
    """
    found = inside_each(boxes, [target.ignore_boxes for target in targets])
    return [replace(one, ignore_boxes=rows) for one, rows in zip(targets, found, strict=True)]


def inside_together(boxes: Sequence[Tensor], regions: Sequence[Tensor]) -> list[Tensor]:
    """Do what ``inside_each`` does as on a device: all that could lie in a region are clipped.

    Where boxes and regions are few, all pairs are: then it is not waited for.
    """
    if sum(len(box) * len(region) for box, region in zip(boxes, regions, strict=True)) <= PAIRS:
        return [_inside_any(*image) for image in zip(boxes, regions, strict=True)]
    around = [(_around(box), _around(region)) for box, region in zip(boxes, regions, strict=True)]
    plain = [_is_plain(box, region) for box, region in zip(boxes, regions, strict=True)]
    results = [torch.zeros(len(box), dtype=torch.bool, device=box.device) for box in boxes]
    parts = [
        (image, part)
        for image, (box, region) in enumerate(zip(boxes, regions, strict=True))
        for part in blocks(len(region), len(box))
    ]

    def near(image: int, part: slice) -> Tensor:
        """Return (k, N) bool: more than half of the box is in what encloses the region."""
        own, others = around[image]
        return intersection(others[part], own) > area(boxes[image]) / 2

    # counted first, then found anew: to hold the tables of all parts would take regions x boxes
    counts = torch.zeros(len(parts), dtype=torch.int64, device=boxes[0].device)
    for number, (image, part) in enumerate(parts):
        table, exact = near(image, part), plain[image][part, None]
        results[image] |= (table & exact).any(0)
        counts[number] = (table & ~exact).sum()
    for (image, part), count in zip(parts, counts.tolist(), strict=True):
        tilted = near(image, part) & ~plain[image][part, None]
        row, column = torch.nonzero_static(tilted, size=count).unbind(1)
        box = boxes[image]
        shared = _intersection_of_pairs(regions[image][part][row], box[column])
        covered = (shared > area(box)[column] / 2).to(shared)
        results[image] |= torch.zeros_like(area(box)).index_add(0, column, covered) > 0
    return results


def _inside_any(boxes: Tensor, regions: Tensor) -> Tensor:
    """Return ``inside`` of one image by all of its pairs."""
    plain = _is_plain(boxes, regions)
    shared = _intersection_of_pairs(
        regions.repeat_interleave(len(boxes), 0), boxes.repeat(len(regions), 1)
    ).reshape(len(regions), len(boxes))
    exact = intersection(_around(regions), _around(boxes))
    return (torch.where(plain[:, None], exact, shared) > area(boxes) / 2).any(0)


def _upright_inside(boxes: Tensor, regions: Tensor) -> Tensor:
    half, result = area(boxes) / 2, torch.zeros_like(boxes[:, 0], dtype=torch.bool)
    for part in blocks(len(regions), len(boxes)):
        result |= (intersection(regions[part], boxes) > half).any(0)
    return result


def _is_plain(boxes: Tensor, regions: Tensor) -> Tensor:
    """Return (I,) bool: the region and all boxes are upright."""
    whole = area(regions) >= (1 - _UPRIGHT) * area(_around(regions))
    return whole & (boxes.shape[1] == 4)


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
