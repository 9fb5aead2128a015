"""The rectangles of least area around polygons and point sets in torch, for any device."""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.models.kernels.convex import hulls

TIE = 1e-12
"""Areas within this share are equal: the first direction is taken (``geometry/rotated.py``)."""


def least_rectangles(corners: Tensor) -> Tensor:
    """Return oriented boxes (N, 5), not yet canonical, around (N, 4, 2) float64 corners.

    As ``geometry.rotated.corners_to_obb``: a least rectangle has a side along an edge of the hull,
    so the best over all directions between two corners is exact. Of a polygon without extent all
    but the centre is 0.
    """
    middle = corners.mean(1, keepdim=True)
    x, y = (corners - middle).unbind(-1)
    doubled = (x * y.roll(-1, 1) - x.roll(-1, 1) * y).sum(1)
    least = doubled.abs() / 2  # no rectangle is smaller than the polygon
    best = corners.new_zeros(len(corners), 5)
    best_area = corners.new_full((len(corners),), torch.inf)
    for i, j in ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3)):  # the edges first
        rectangle = _along(x, y, x[:, j] - x[:, i], y[:, j] - y[:, i])
        area = rectangle[:, 2] * rectangle[:, 3]
        better = _less(least, best_area) & _less(area, best_area)
        best = torch.where(better[:, None], rectangle, best)
        best_area = torch.where(better, area, best_area)
    return torch.cat([best[:, :2] + middle[:, 0], best[:, 2:]], 1)


def least_around_points(points: Tensor) -> Tensor:
    """Return oriented boxes (N, 5) float64, not yet canonical, around points (N, K, 2), K >= 2.

    A side lies along an edge of the hull; of edges that give equal areas, but for ``TIE``, the
    first is taken, from the leftmost corner on along the smaller y. No gradient.
    """
    corners = hulls(points.detach().double())
    middle = corners[:, :1]
    corners = corners - middle
    step = corners.roll(-1, 1) - corners
    length = step.norm(dim=2)
    direction = step / torch.where(length > 0, length, 1.0)[..., None]
    along = direction @ corners.mT  # (N, edges, corners)
    across = torch.stack([-direction[..., 1], direction[..., 0]], -1) @ corners.mT
    (left, right), (top, bottom) = along.aminmax(dim=2), across.aminmax(dim=2)
    area = ((right - left) * (bottom - top)).masked_fill(length == 0, torch.inf)
    best = (~_less(area.amin(1, keepdim=True), area)).to(torch.int8).argmax(1, keepdim=True)
    each = torch.stack([left + right, top + bottom, right - left, bottom - top], -1)
    each = torch.cat([each, direction], -1)
    u, v, w, h, cos, sin = each.gather(1, best[..., None].expand(-1, -1, 6))[:, 0].unbind(1)
    centre = torch.stack([u * cos - v * sin, u * sin + v * cos], 1) / 2 + middle[:, 0]
    return torch.cat([centre, torch.stack([w, h, _angle(cos, sin)], 1)], 1)


def _along(x: Tensor, y: Tensor, step_x: Tensor, step_y: Tensor) -> Tensor:
    """Return the enclosing rectangles (N, 5) of points (N, 4) with a side along a direction (N,).

    Where the direction has no length the sides are infinite.
    """
    length = _length(step_x, step_y)
    valid = length > 0
    divisor = torch.where(valid, length, 1.0)
    cos, sin = (step_x / divisor)[:, None], (step_y / divisor)[:, None]
    along, across = x * cos + y * sin, y * cos - x * sin
    (left, right), (top, bottom) = along.aminmax(dim=1), across.aminmax(dim=1)
    u, v, cos, sin = (left + right) / 2, (top + bottom) / 2, cos[:, 0], sin[:, 0]
    w, h = torch.where(valid, right - left, torch.inf), torch.where(valid, bottom - top, torch.inf)
    return torch.stack([u * cos - v * sin, u * sin + v * cos, w, h, _angle(cos, sin)], 1)


def _less(area: Tensor, than: Tensor) -> Tensor:
    """Return whether areas are less than others by more than ``TIE``.

    ONNX's optimiser leaves out factors that are nearly 1, so the share is added.
    """
    return area + area * TIE < than


def _length(x: Tensor, y: Tensor) -> Tensor:
    """Return the lengths of steps (x, y); in a graph without ``hypot``, which ONNX lacks."""
    return (x * x + y * y).sqrt() if torch.compiler.is_compiling() else torch.hypot(x, y)


def _angle(x: Tensor, y: Tensor) -> Tensor:
    """Return the angles of steps (x, y) in their type.

    In a graph by float32: ONNX Runtime has no arc tangent of float64.
    """
    if torch.compiler.is_compiling():
        return torch.atan2(y.float(), x.float()).to(x.dtype)
    return torch.atan2(y, x)
