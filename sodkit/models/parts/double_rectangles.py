"""An oriented object as two upright rectangles and three factors (DHRec).

Nie and Huang, "Multi-Oriented Object Detection in Aerial Images With Double Horizontal Rectangles"
(TPAMI 2022). The corners' coordinates are sorted, each axis by itself: x1 <= x2 <= x3 <= x4 and
y1 <= y2 <= y3 <= y4::

       x1    x2     x3   x4
    y1       top                   A = (x1, y1, x3, y3)
    y2  left                       B = (x2, y2, x4, y4)
    y3                right        top is at x2 or at x3, bottom at the other one;
    y4              bottom         left is at y2 or at y3, right at the other one

The sorted coordinates change continuously when an object turns. Two factors say which corner is
where, and a third one, the obliquity, how much of its enclosing box the object fills. The first two
are .5 where both answers are the same object, so they change continuously, too: unlike targets of
sides and angle, nothing here jumps.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.models.kernels.triangle_overlap import triangle_overlap

EASE = 0.05
"""Parts of the object's area that are added to what is compared: the less a corner's place matters,
the nearer its factor is to .5."""
FULL = 0.5
"""An object that fills more of its enclosing box than this has one answer of each kind."""


def rectangles(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rectangles A and B (..., 4) xyxy of corners (..., 4, 2)."""
    x, y = corners.sort(-2).values.unbind(-1)
    a = torch.stack([x[..., 0], y[..., 0], x[..., 2], y[..., 2]], -1)
    b = torch.stack([x[..., 1], y[..., 1], x[..., 3], y[..., 3]], -1)
    return a, b


def around(a: Tensor, b: Tensor) -> Tensor:
    """Return the boxes (..., 4) around rectangles A and B; of an object its enclosing box."""
    low = torch.minimum(a[..., :2], b[..., :2])
    return torch.cat([low, torch.maximum(a[..., 2:], b[..., 2:])], -1)


def factors(corners: Tensor) -> Tensor:
    """Return obliquity, top and left (N, 3) in [0, 1] of convex objects; no gradient.

    Args:
        corners: (N, 4, 2) in their order.

    Returns:
        the share of the enclosing box that the object fills; which of two triangles it overlaps
        more, with the top corner at x2 (> .5) or at x3; the same of the left corner, y2 or y3.
    """
    x, y = (axis.unbind(1) for axis in corners.double().sort(1).values.unbind(-1))
    across, down = (corners.double() - corners[:, :1].double()).unbind(-1)
    area = (across * down.roll(-1, 1) - across.roll(-1, 1) * down).sum(1).abs() / 2
    fill = area / ((x[3] - x[0]) * (y[3] - y[0]))
    top = _more(corners, area, (x[0], y[1]), ((x[1], y[0]), (x[2], y[0])), (x[3], y[1]))
    left = _more(corners, area, (x[1], y[0]), ((x[0], y[1]), (x[0], y[2])), (x[1], y[3]))
    return torch.stack([fill, top, left], 1).to(corners.dtype)


Point = tuple[Tensor, Tensor]


def _more(
    corners: Tensor, area: Tensor, start: Point, tips: tuple[Point, Point], end: Point
) -> Tensor:
    """Return how much more (N,) objects overlap the first of two triangles on one base."""
    first, second = (
        triangle_overlap(corners, torch.stack([torch.stack(p, 1) for p in (start, tip, end)], 1))
        for tip in tips
    )
    ease = EASE * area
    return (first + ease) / (first + second + 2 * ease)


def quadrilaterals(a: Tensor, b: Tensor, factor: Tensor) -> Tensor:
    """Return the corners (..., 4, 2): top, left, bottom, right.

    Of an object that fills more than half of its enclosing box, top and left answer differently;
    where the factors do not, the one that is less sure is taken for the other. The release leaves
    factors of exactly .5 as they are: then an upright object becomes its diagonal.

    Args:
        a: (..., 4) xyxy rectangles A.
        b: (..., 4) xyxy rectangles B.
        factor: (..., 3) obliquity, top, left.
    """
    x1, y1, x3, y3 = a.unbind(-1)
    x2, y2, x4, y4 = b.unbind(-1)
    obliquity, top, left = factor.unbind(-1)
    second, upper = top > 0.5, left > 0.5
    wrong = (obliquity > FULL) & (second == upper)
    less_sure = (top - 0.5).abs() < (left - 0.5).abs()
    second, upper = second ^ (wrong & less_sure), upper ^ (wrong & ~less_sure)
    x = torch.stack([torch.where(second, x2, x3), x1, torch.where(second, x3, x2), x4], -1)
    y = torch.stack([y1, torch.where(upper, y2, y3), y4, torch.where(upper, y3, y2)], -1)
    return torch.stack([x, y], -1)
