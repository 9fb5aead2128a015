"""Convex hulls of point sets, and how they overlap oriented boxes, in torch for any device.

All of a batch is computed at once, in float64: a hull has room for as many corners as there are
points, and its last corner is repeated where it has fewer. Areas and overlaps have a gradient for
the points: which points are corners is fixed by sorting, the rest is arithmetic. A hull is clipped
in the frame of the box, as in ``rotated_iou.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from sodkit.models.kernels.rotated_iou import cut, to_front

ROWS = 2**15
"""Point sets worked on at once: a table of all pairs of nine points has 21 MB."""

_TINY = 1e-12
"""The least area that is divided by."""


def hulls(points: Tensor) -> Tensor:
    """Return the corners (N, K, 2) of the convex hulls of points (N, K, 2), K >= 2.

    They go round from the leftmost one, first along the smaller y. Points on an edge are no
    corners. Of points on a line there are two corners, of points that are all one there is one.
    """
    return points.gather(1, _corners(points.detach())[..., None].expand(-1, -1, 2))


@torch.no_grad()
def _corners(points: Tensor) -> Tensor:
    """Return which points (N, K) int64 are the corners.

    Sorted by x, a point is on the side of smaller y if every slope from a point before it is less
    than every slope to a point after it, and on the other side if it is greater.
    """
    count = points.shape[1]
    down = _ascending(points[..., 1])
    across = _ascending(points[..., 0].gather(1, down))
    order = down.gather(1, across)
    x, y = points.double().gather(1, order[..., None].expand(-1, -1, 2)).unbind(-1)
    run, rise = x[:, None] - x[..., None], y[:, None] - y[..., None]
    # one above the other, or at the same place: steeper than all others
    slope = torch.where(run > 0, rise / torch.where(run > 0, run, 1.0), torch.inf)
    back = ~torch.ones(count, count, dtype=torch.bool, device=x.device).triu(1)
    steep, flat = slope.masked_fill(back, torch.inf), slope.masked_fill(back, -torch.inf)
    one, other = flat.amax(1) < steep.amin(2), steep.amin(1) > flat.amax(2)
    one[:, -1], other[:, 0] = False, False  # the ends belong to one side each
    there_and_back = torch.cat([order, order.flip(1)], 1)
    return there_and_back.gather(1, to_front(torch.cat([one, other.flip(1)], 1), count))


def _ascending(values: Tensor) -> Tensor:
    """Return the order (N, K) of values (N, K); of equal ones the earlier is first.

    ONNX has one way to sort, which keeps the order of equal values, and no name for it as such.
    """
    if torch.compiler.is_compiling():
        return values.sort(dim=1).indices
    return values.sort(dim=1, stable=True).indices


def areas(corners: Tensor) -> Tensor:
    """Return the areas (N,) of convex polygons with corners (N, K, 2), repeated or not."""
    x, y = (corners - corners[:, :1]).unbind(-1)
    return (x[:, 1:-1] * y[:, 2:] - x[:, 2:] * y[:, 1:-1]).sum(1).abs() / 2


def in_frame(points: Tensor, boxes: Tensor) -> Tensor:
    """Return points (N, K, 2) in the frames of boxes (N, 5): along w and h, from the centre."""
    x, y = (points - boxes[:, None, :2]).unbind(-1)
    cos, sin = boxes[:, 4, None].cos(), boxes[:, 4, None].sin()
    return torch.stack([x * cos + y * sin, y * cos - x * sin], -1)


def shared(corners: Tensor, half: Tensor) -> Tensor:
    """Return the areas (N,) that convex polygons share with boxes, in the boxes' frames.

    Args:
        corners: (N, K, 2) of the polygons.
        half: (N, 2) half of the boxes' sides.
    """
    x, y = corners.unbind(-1)
    for sign in (-1.0, 1.0):
        x, y = cut(x, y, sign, half[:, :1])
        y, x = cut(y, x, sign, half[:, 1:])
    return areas(torch.stack([x, y], -1))


@torch.no_grad()
def overlaps(points: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the areas that hulls share with boxes, and the hulls' own, both (N,) float64.

    Args:
        points: (N, K, 2) px.
        boxes: (N, 5) oriented, px; row by row.
    """
    found = []
    for own, box in _parts(points, boxes):
        corners = hulls(in_frame(own.double(), box))
        found.append(torch.stack([shared(corners, box[:, 2:4] / 2), areas(corners)]))
    together, alone = torch.cat(found, 1)
    return together, alone


def convex_iou(points: Tensor, boxes: Tensor) -> Tensor:
    """Return the IoU (N,) float64 of the hulls of points (N, K, 2) with boxes (N, 5); no gradient.

    Row by row; boxes have an area.
    """
    together, alone = overlaps(points, boxes)
    return together / (alone + boxes[:, 2].double() * boxes[:, 3].double() - together)


def convex_giou(points: Tensor, boxes: Tensor) -> Tensor:
    """Return the GIoU (N,) float64 in [-1, 1] of the hulls of points (N, K, 2) with boxes (N, 5).

    Rezatofighi et al., CVPR 2019, with the hull of both in place of the enclosing box: the IoU less
    the share of that hull in neither of them. Row by row, with a gradient for the points.
    """
    found = [
        _giou(in_frame(own.double(), box), box[:, 2:4] / 2)
        for own, box in _parts(points, boxes.detach())
    ]
    return torch.cat(found)


def _parts(points: Tensor, boxes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield some rows at a time, one empty part if there are none; boxes in float64."""
    return zip(torch.split(points, ROWS), torch.split(boxes.double(), ROWS), strict=True)


def _giou(points: Tensor, half: Tensor) -> Tensor:
    corners = hulls(points)
    together = shared(corners, half)
    union = (areas(corners) + 4 * half.prod(1) - together).clamp(min=_TINY)
    signs = half.new_zeros(4, 2)
    signs[:2, 0], signs[2:, 0], signs[0::2, 1], signs[1::2, 1] = -1, 1, -1, 1
    around = areas(hulls(torch.cat([points, half[:, None] * signs], 1))).clamp(min=_TINY)
    return together / union - (around - union) / around
