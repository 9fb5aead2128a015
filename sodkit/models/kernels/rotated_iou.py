"""The exact overlap of pairs of oriented boxes in torch, for devices that have no compiled code.

The arithmetic is that of ``geometry/overlap.py``, step by step and in float64: a box is clipped in
the frame of the other one, by four lines that are parallel to an axis. All pairs are clipped at
once, so each has room for as many corners as any may get: a corner is repeated where it has fewer.
"""

from __future__ import annotations

import torch
from torch import Tensor

PAIRS = 2**18
"""Pairs clipped at once: an array of their corners has 32 MB."""


def rotated_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU (N,) float64 of oriented boxes ``a[i]`` and ``b[i]``, both (N, 5).

    0 where one of them has no area. No gradient.
    """
    inter = rotated_intersection(a, b)
    a, b = a.detach().double(), b.detach().double()
    total = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3]
    iou = torch.where(inter < total, (inter / (total - inter)).clamp(max=1.0), 1.0)
    sound = (a[:, 2:4] > 0).all(1) & (b[:, 2:4] > 0).all(1)
    return torch.where(sound, iou, 0.0)


def rotated_intersection(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection (N,) float64 in px^2 of oriented boxes (N, 5), row by row."""
    first, second = (torch.split(one.detach().double(), PAIRS) for one in (a, b))
    return torch.cat([_clip(*part) for part in zip(first, second, strict=True)])


def _clip(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection of some pairs."""
    x, y = _corners_in_frame(a, b)
    for axis in (0, 1):
        for sign in (-1.0, 1.0):
            limit = a[:, 2 + axis, None] / 2
            if axis == 0:
                x, y = cut(x, y, sign, limit)
            else:
                y, x = cut(y, x, sign, limit)
    x, y = x - x[:, :1], y - y[:, :1]
    doubled = x[:, 1:-1] * y[:, 2:] - x[:, 2:] * y[:, 1:-1]
    return doubled.sum(1).abs() / 2


def _corners_in_frame(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and y (N, 4) of the corners of ``b`` in the frame of ``a``."""
    (cos_a, sin_a), (cos_b, sin_b) = ((one[:, 4].cos(), one[:, 4].sin()) for one in (a, b))
    dx, dy = b[:, 0] - a[:, 0], b[:, 1] - a[:, 1]
    x, y = dx * cos_a + dy * sin_a, dy * cos_a - dx * sin_a
    cos, sin = cos_a * cos_b + sin_a * sin_b, cos_a * sin_b - sin_a * cos_b
    wx, wy, hx, hy = b[:, 2] / 2 * cos, b[:, 2] / 2 * sin, -b[:, 3] / 2 * sin, b[:, 3] / 2 * cos
    return (
        torch.stack([x - wx - hx, x + wx - hx, x + wx + hx, x - wx + hx], 1),
        torch.stack([y - wy - hy, y + wy - hy, y + wy + hy, y - wy + hy], 1),
    )


def cut(along: Tensor, other: Tensor, sign: float, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Cut convex polygons by a line across the first axis.

    Args:
        along: (N, K) the corners' coordinates on the axis that is limited.
        other: (N, K) those on the other axis.
        sign: 1.0 or -1.0.
        limit: (N, 1): corners with sign * along <= limit stay.

    Returns:
        the same two (N, K + 1); of what is cut away wholly all corners are one.
    """
    last, last_other = along.roll(1, 1), other.roll(1, 1)
    before, after = sign * last - limit, sign * along - limit
    crossing, stays = (before > 0) != (after > 0), after <= 0
    share = before / torch.where(crossing, before - after, 1.0)
    on_line = (sign * limit).expand_as(along)
    # for each corner first where its edge crosses the line, then the corner itself
    new = torch.stack([on_line, along], 2).flatten(1)
    new_other = torch.stack([last_other + share * (other - last_other), other], 2).flatten(1)
    valid = torch.stack([crossing, stays], 2).flatten(1)
    source = to_front(valid, along.shape[1] + 1)
    return new.gather(1, source), new_other.gather(1, source)


def to_front(valid: Tensor, room: int) -> Tensor:
    """Return the places (N, room) int64 of the valid ones of (N, M) bool, in their order.

    The last one is repeated where there are fewer than ``room``; where there is none it is place 0.
    """
    place = torch.where(valid, valid.cumsum(1) - 1, room).clamp(max=room)
    source = place.new_zeros(len(valid), room + 1)
    source = source.scatter(
        1, place, torch.arange(valid.shape[1], device=place.device).expand_as(place)
    )
    source = source[:, :room]
    there = torch.arange(room, device=place.device) < valid.sum(1, keepdim=True)
    return torch.where(there, source, source.amax(1, keepdim=True))
