"""How much of a convex quadrilateral lies in a triangle, exactly, in torch for any device."""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.models.kernels.rotated_iou import cut


def triangle_overlap(quads: Tensor, triangles: Tensor) -> Tensor:
    """Return the shared areas (N,) float64 in px^2, row by row; no gradient.

    Args:
        quads: (N, 4, 2) corners of convex quadrilaterals, in their order.
        triangles: (N, 3, 2) corners; one without area shares nothing.
    """
    quads, triangles = quads.detach().double(), triangles.detach().double()
    origin = quads.mean(1, keepdim=True)  # small numbers: no digits are lost far from 0
    x, y = (quads - origin).unbind(-1)
    corners = triangles - origin
    area = _doubled(*corners.unbind(-1))
    side = torch.where(area >= 0, 1.0, -1.0)[:, None]
    for start in range(3):
        first, edge = corners[:, start], corners[:, (start + 1) % 3] - corners[:, start]
        length = edge.norm(dim=1).clamp(min=torch.finfo(edge.dtype).tiny)[:, None]
        # the outward normal of this side; what lies beyond the side is cut away
        u, v = side * edge[:, 1:] / length, -side * edge[:, :1] / length
        limit = first[:, :1] * u + first[:, 1:] * v
        out, along = cut(x * u + y * v, y * u - x * v, 1.0, limit)
        x, y = out * u - along * v, out * v + along * u
    return torch.where(area == 0, 0.0, _doubled(x, y).abs() / 2)


def _doubled(x: Tensor, y: Tensor) -> Tensor:
    """Return twice the signed area (N,) of polygons with corners x, y (N, K)."""
    x, y = x - x[:, :1], y - y[:, :1]
    return (x[:, 1:-1] * y[:, 2:] - x[:, 2:] * y[:, 1:-1]).sum(1)
