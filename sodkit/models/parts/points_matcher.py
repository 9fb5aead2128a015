"""Which point learns which object, by where it lies in it (Tian et al., FCOS, ICCV 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sodkit.geometry.touching import Runs
from sodkit.models.kernels.blocks import blocks
from sodkit.models.parts import points
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.box_iou import area
from sodkit.models.parts.ignored import points_inside
from sodkit.models.parts.matchers import IGNORED


@dataclass(frozen=True, slots=True, eq=False)
class RangedPoints:
    """Points of all levels, each with what it may learn.

    Attributes:
        at: (N, 2) x, y in px of the input.
        stride: (N,) of its level.
        least: (N,) the farthest side of a box it learns is at least so far, px.
        most: (N,) and at most so far.
    """

    at: Tensor
    stride: Tensor
    least: Tensor
    most: Tensor

    def take(self, rows: Tensor | slice) -> RangedPoints:
        """Return some of the points."""
        return RangedPoints(self.at[rows], self.stride[rows], self.least[rows], self.most[rows])


def ranged_points(
    size: tuple[int, int],
    strides: tuple[int, ...],
    ranges: tuple[tuple[float, float], ...],
    device: torch.device | None = None,
) -> RangedPoints:
    """Return the points of all levels.

    Args:
        size: (height, width) of the network's input, px.
        strides: of the levels.
        ranges: of the levels: the least and the greatest farthest side, px.
        device: where the tensors are made.
    """
    grid = points.grid(size, strides, device)
    least, most = zip(*ranges, strict=True)
    return RangedPoints(
        torch.cat(grid), *(points.spread(values, grid) for values in (strides, least, most))
    )


def match_points(grid: RangedPoints, boxes: Tensor, ignore_boxes: Tensor, radius: float) -> Tensor:
    """Match points to objects.

    A point is positive if it lies inside an object and near its centre, and the object's farthest
    side is in its range. Of several such objects the smallest has it, of equal ones the first.

    Args:
        grid: N points of all levels.
        boxes: (G, 4) xyxy, sides > 0.
        ignore_boxes: (I, 4) xyxy, or (I, 5) oriented: points in them are ``IGNORED``.
        radius: greatest distance to the centre on either axis, in strides.

    Returns:
        (N,) int64 index of an object, ``NEGATIVE`` or ``IGNORED``.
    """
    # smallest first: the first object that wants a point has it
    order = area(boxes).argsort(stable=True)
    none = len(boxes)
    first = torch.full_like(grid.stride, none, dtype=torch.int64)
    runs = _runs(grid.at)
    for part in blocks(none, len(grid.at)):
        own = boxes[order[part]]
        near = _near(runs, own)
        wants = _wants(grid.take(near), own, radius)
        number = torch.arange(part.start, part.stop, device=boxes.device)[:, None]
        first[near] = torch.minimum(first[near], torch.where(wants, number, none).amin(0))
    gt = torch.cat([order, order.new_full((1,), NEGATIVE)])[first]
    return gt.masked_fill(points_inside(grid.at, ignore_boxes), IGNORED)


def _runs(at: Tensor) -> Runs | None:
    """Return points (N, 2) as boxes in runs; on a device, which would be waited for, none."""
    if at.device.type != "cpu":
        return None
    return Runs.of(torch.cat([at, at], 1).double().numpy())


def _near(runs: Runs | None, boxes: Tensor) -> Tensor | slice:
    """Return the points that lie in boxes (k, 4), on a device all."""
    if runs is None:
        return slice(None)
    return torch.from_numpy(runs.rows(boxes.double().numpy()))


def _wants(grid: RangedPoints, boxes: Tensor, radius: float) -> Tensor:
    """Return (G, N) bool: the object wants the point."""
    (x, y), reach = grid.at.unbind(1), grid.stride * radius
    x1, y1, x2, y2 = boxes[:, :, None].unbind(1)
    left, top, right, bottom = x - x1, y - y1, x2 - x, y2 - y
    farthest = torch.maximum(torch.maximum(left, right), torch.maximum(top, bottom))
    wants = (farthest >= grid.least) & (farthest <= grid.most)
    wants &= (left > 0) & (top > 0) & (right > 0) & (bottom > 0)
    return wants & ((x - (x1 + x2) / 2).abs() < reach) & ((y - (y1 + y2) / 2).abs() < reach)
