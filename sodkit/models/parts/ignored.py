"""Which anchors and proposals lie in ignore regions: they are neither positive nor negative."""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.models.kernels.blocks import blocks
from sodkit.models.parts.box_iou import area, intersection
from sodkit.models.parts.rotated_coders import enclosing, upright

_UPRIGHT = 1e-6
"""An oriented box that fills all but this share of its enclosing box is taken as that box."""


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
    for part in blocks(len(regions), len(boxes)):
        near = intersection(region_around[part], around) > half
        result |= (near & plain[part, None]).any(0)
        if plain[part].all():
            continue
        region, box = torch.nonzero(near & ~plain[part, None] & ~result, as_tuple=True)
        shared = _intersection_of_pairs(regions[part][region], boxes[box])
        result[box[shared > half[box]]] = True
    return result


def _intersection_of_pairs(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection areas (N,) of boxes row by row, upright or oriented."""
    first, second = (boxes if boxes.shape[1] == 5 else upright(boxes) for boxes in (a, b))
    iou = rotated_iou_pairs(first.double().cpu().numpy(), second.double().cpu().numpy())
    share = torch.from_numpy(iou / (1 + iou)).to(b)
    return share * (area(a) + area(b))


def _around(boxes: Tensor) -> Tensor:
    return boxes if boxes.shape[1] == 4 else enclosing(boxes)
