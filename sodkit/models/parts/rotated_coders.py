"""Oriented boxes and their regression targets, in torch: what the oriented heads learn.

Boxes are (cx, cy, w, h, angle) float32: radians, clockwise with y down, canonical with w >= h and
the angle in [-pi/2, pi/2), as in ``geometry/rotated.py``. A rectangle has two descriptions within
half a turn: (w, h, angle) and (h, w, angle + 90 degrees). A coder takes the one that is nearer to
its reference, so its target jumps only where the sides swap, 45 degrees away from the reference,
and nowhere at the ends of the angle's range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.geometry.rotated import corners_to_obb
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.first import fixed_shapes
from sodkit.models.kernels.least_rectangle import least_rectangles
from sodkit.models.parts import coders

_TIE = 0.1
"""Vertices within this many px of the topmost or rightmost coordinate count as such (release)."""
_LEVEL = 1e-6
"""Gliding Vertex: corners within this many px are equally high."""

_FARTHEST = 1e6
"""px: what has diverged is pooled from here, where there is nothing."""

UPRIGHT_SHARE = 0.8
"""Gliding Vertex: an object that fills more of its enclosing box than this is taken as upright."""


def canonical(boxes: Tensor) -> Tensor:
    """Return the same rectangles (..., 5) with w >= h and the angle in [-pi/2, pi/2)."""
    cx, cy, w, h, angle = boxes.unbind(-1)
    upright = h > w
    angle = _wrap(torch.where(upright, angle + math.pi / 2, angle))
    return torch.stack([cx, cy, torch.where(upright, h, w), torch.where(upright, w, h), angle], -1)


def enclosing(boxes: Tensor) -> Tensor:
    """Return the upright boxes (..., 4) xyxy around oriented ones (..., 5)."""
    half_w, half_h = boxes[..., 2] / 2, boxes[..., 3] / 2
    cos, sin = boxes[..., 4].cos().abs(), boxes[..., 4].sin().abs()
    half = torch.stack([cos * half_w + sin * half_h, sin * half_w + cos * half_h], -1)
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], -1)


def corners(boxes: Tensor) -> Tensor:
    """Return the corners (..., 4, 2) of oriented boxes (..., 5), clockwise as seen."""
    along, across = _axes(boxes)
    along, across = along * (boxes[..., 2:3] / 2), across * (boxes[..., 3:4] / 2)
    offsets = torch.stack([-along - across, along - across, along + across, across - along], -2)
    return boxes[..., None, :2] + offsets


def clamp_centres(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Move the centres of boxes (..., 5) into [0, width - 1] x [0, height - 1] (mmrotate)."""
    limit = constant([side - 1 for side in reversed(size)], boxes)
    centre = torch.minimum(boxes[..., :2].clamp(min=0), limit)
    return torch.cat([centre, boxes[..., 2:]], -1)


def centred_inside(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (...,) bool: a box (..., 5) is finite and centred in an image (height, width)."""
    centre, limit = boxes[..., :2], constant(size[::-1], boxes)
    return ((centre >= 0) & (centre <= limit)).all(-1) & boxes.isfinite().all(-1)


def within_reach(boxes: Tensor) -> Tensor:
    """Return boxes (..., 5) all of whose numbers are finite, so that they can be pooled from."""
    return boxes.nan_to_num().clamp(-_FARTHEST, _FARTHEST)


def upright(xyxy: Tensor) -> Tensor:
    """Return upright boxes (..., 4) as canonical oriented ones (..., 5)."""
    centre, size = coders.centre_and_size(xyxy)
    return canonical(torch.cat([centre, size, torch.zeros_like(size[..., :1])], -1))


def scale(boxes: Tensor, factors: tuple[float, float]) -> Tensor:
    """Resize the plane by ``factors`` (x, y) > 0, as ``geometry.rotated.scale`` does."""
    x, y = factors
    cx, cy, w, h, angle = boxes.unbind(-1)
    across, down = x * angle.cos(), y * angle.sin()
    stretch = torch.hypot(across, down)
    turned = torch.atan2(down, across)
    return canonical(torch.stack([cx * x, cy * y, w * stretch, h * (x * y / stretch), turned], -1))


def encode_upright(references: Tensor, boxes: Tensor, stds: Sequence[float]) -> Tensor:
    """Return the deltas (..., 5) from upright RoIs (..., 4) xyxy to oriented boxes (..., 5).

    (dx, dy, dw, dh) as of upright boxes, and the angle in turns (divided by 2 pi), of the
    description whose angle is nearer to 0; at exactly 45 degrees the one with the sides swapped.
    """
    centre, size = coders.centre_and_size(references)
    sides, angle = _nearer(boxes, boxes[..., 4])
    deltas = torch.cat(
        [
            (boxes[..., :2] - centre) / size,
            torch.log(sides / size),
            angle[..., None] / (2 * math.pi),
        ],
        -1,
    )
    return deltas / constant(stds, deltas)


def decode_upright(references: Tensor, deltas: Tensor, stds: Sequence[float]) -> Tensor:
    """Apply deltas (..., 5) to upright RoIs (..., 4); canonical oriented boxes (..., 5)."""
    deltas = deltas.float() * constant(stds, references)
    centre, sides = coders.move(references, deltas)
    return canonical(torch.cat([centre, sides, deltas[..., 4:] * (2 * math.pi)], -1))


def encode_rotated(
    references: Tensor, boxes: Tensor, stds: Sequence[float], lowest: float | None = None
) -> Tensor:
    """Return the deltas (..., 5) from oriented RoIs (..., 5) to oriented boxes (..., 5).

    The shift is projected on the RoI's axes, the angle is the difference in radians.

    Args:
        references: anchors or RoIs.
        boxes: the objects.
        stds: what the deltas are divided by.
        lowest: None: the difference is that of the nearer description (Oriented R-CNN); else of the
            description that the boxes have, in [lowest, lowest + pi) (S2A-Net).
    """
    along, across = _axes(references)
    shift = boxes[..., :2] - references[..., :2]
    turn = boxes[..., 4] - references[..., 4]
    if lowest is None:
        sides, angle = _nearer(boxes, turn)
    else:
        sides, angle = boxes[..., 2:4], _wrap(turn, lowest)
    deltas = torch.cat(
        [
            (shift * along).sum(-1, keepdim=True) / references[..., 2:3],
            (shift * across).sum(-1, keepdim=True) / references[..., 3:4],
            torch.log(sides / references[..., 2:4]),
            angle[..., None],
        ],
        -1,
    )
    return deltas / constant(stds, deltas)


def decode_rotated(references: Tensor, deltas: Tensor, stds: Sequence[float]) -> Tensor:
    """Apply deltas (..., 5) to oriented RoIs (..., 5); canonical oriented boxes (..., 5)."""
    return canonical(move_rotated(references, deltas, stds))


def move_rotated(
    references: Tensor, deltas: Tensor, stds: Sequence[float], lowest: float | None = None
) -> Tensor:
    """Do what ``decode_rotated`` does, but let w be the side that the deltas say: it may be short.

    Angles are brought into [lowest, lowest + pi); None: they are left as they come.
    """
    deltas = deltas.float() * constant(stds, references)
    along, across = _axes(references)
    centre = (
        references[..., :2]
        + along * (deltas[..., 0:1] * references[..., 2:3])
        + across * (deltas[..., 1:2] * references[..., 3:4])
    )
    sides = (
        references[..., 2:4] * deltas[..., 2:4].clamp(-coders.RATIO_LIMIT, coders.RATIO_LIMIT).exp()
    )
    angle = references[..., 4:] + deltas[..., 4:]
    angle = angle if lowest is None else _wrap(angle, lowest)
    return torch.cat([centre, sides, angle], -1)


def encode_midpoint(
    references: Tensor, boxes: Tensor, stds: Sequence[float], *, separately: bool = False
) -> Tensor:
    """Return the midpoint offsets (..., 6) from anchors (..., 4) to oriented boxes (..., 5).

    The enclosing box as of upright boxes; then how far right of the centre the topmost vertex lies,
    in widths, and how far below it the rightmost one, in heights (Oriented R-CNN, section 3.1.2).
    ``separately`` finds the two vertices one by one, as the release does: see ``_top_and_right``.
    """
    around, points = enclosing(boxes), corners(boxes)
    plain = coders.encode(references, around, (1.0, 1.0, 1.0, 1.0))
    top, right = _top_and_right(points, separately=separately)
    ends = torch.cat([points[..., 0].gather(-1, top), points[..., 1].gather(-1, right)], -1)
    offsets = (ends - boxes[..., :2]) / (around[..., 2:] - around[..., :2])
    return torch.cat([plain, offsets], -1) / constant(stds, plain)


def _top_and_right(points: Tensor, *, separately: bool) -> tuple[Tensor, Tensor]:
    """Return which corner is topmost and which rightmost, of (..., 4, 2), both (..., 1).

    Two corners as high as each other but for ``_TIE`` are the upper side of an upright box: then
    the right one of them is the top, and the lower one of the right side is the rightmost. The
    release decides that for each side by itself. Where only one of them is tied, it may name two
    corners that are not neighbours, or one twice, and the box decodes to a sliver.
    """
    x, y = points.unbind(-1)
    high, far = y - y.amin(-1, keepdim=True) <= _TIE, x.amax(-1, keepdim=True) - x <= _TIE
    top = x.masked_fill(~high, -torch.inf).argmax(-1)
    right = y.masked_fill(~far, -torch.inf).argmax(-1)
    if separately:
        return top[..., None], right[..., None]
    top_tied, right_tied = high.sum(-1) > 1, far.sum(-1) > 1
    # the corners go round clockwise: the rightmost one comes after the topmost
    right = torch.where(top_tied, right, (top + 1) % 4)
    top = torch.where(top_tied & ~right_tied, (right - 1) % 4, top)
    return top[..., None], right[..., None]


def decode_midpoint(references: Tensor, deltas: Tensor, stds: Sequence[float]) -> Tensor:
    """Apply midpoint offsets (..., 6) to anchors (..., 4); canonical oriented boxes (..., 5).

    They make a parallelogram; its shorter diagonal is lengthened to the longer one.
    """
    deltas = deltas.float() * constant(stds, references)
    around = coders.decode(references, deltas[..., :4], (1.0, 1.0, 1.0, 1.0))
    centre, size = coders.centre_and_size(around)
    half = size / 2
    offsets = deltas[..., 4:].clamp(-0.5, 0.5) * 2 * half
    top = torch.stack([offsets[..., 0], -half[..., 1]], -1)
    right = torch.stack([half[..., 0], offsets[..., 1]], -1)
    lengths = torch.stack([top.norm(dim=-1), right.norm(dim=-1)], -1).clamp(min=1e-6)
    longest = lengths.amax(-1, keepdim=True)
    top, right = top * (longest / lengths[..., :1]), right * (longest / lengths[..., 1:])
    # top, right, -top, -right are the corners: its sides are right - top and right + top
    side, other = right - top, right + top
    angle = torch.atan2(side[..., 1], side[..., 0])
    sides = torch.stack([side.norm(dim=-1), other.norm(dim=-1)], -1)
    return canonical(torch.cat([centre, sides, angle[..., None]], -1))


def encode_gliding(boxes: Tensor) -> Tensor:
    """Return how far the vertices glide along the sides of the enclosing box, and the share.

    Args:
        boxes: (..., 5).

    Returns:
        (..., 5): top vertex from the left, right one from the top, bottom one from the right, left
        one from the bottom, in parts of the side; and the share of the enclosing box that the
        object fills (Gliding Vertex, Eq. 1 to 4). All in [0, 1].
    """
    around, points = enclosing(boxes), corners(boxes)
    size = around[..., 2:] - around[..., :2]
    x, y = points[..., 0], points[..., 1]
    # Corners go round clockwise, so the rightmost comes after the topmost, and so on: taken one by
    # one, the level sides of an upright box would mix glides of 0 and of 1. The release gives it 1.
    level = y - y.amin(-1, keepdim=True) <= _LEVEL
    top = x.masked_fill(~level, -torch.inf).argmax(-1)
    rows = (top[..., None] + torch.arange(4, device=top.device)) % 4
    glide_x = (x.gather(-1, rows[..., 0::2]) - around[..., 0:1]) / size[..., 0:1]
    glide_y = (y.gather(-1, rows[..., 1::2]) - around[..., 1:2]) / size[..., 1:2]
    share = boxes[..., 2] * boxes[..., 3] / size.prod(-1)
    glides = [glide_x[..., 0], glide_y[..., 0], 1 - glide_x[..., 1], 1 - glide_y[..., 1]]
    return torch.stack([*glides, share], -1).clamp(0, 1)


def decode_gliding(around: Tensor, glides: Tensor) -> Tensor:
    """Return the quadrilaterals (..., 4, 2) of enclosing boxes (..., 4) and ``glides`` (..., 5).

    Where the share is above ``UPRIGHT_SHARE`` it is the enclosing box itself.
    """
    low, size = around[..., :2], around[..., 2:] - around[..., :2]
    full = (glides[..., 4] > UPRIGHT_SHARE)[..., None]
    top, right, bottom, left = torch.where(full, 0.0, glides[..., :4]).unbind(-1)
    zero, one = torch.zeros_like(top), torch.ones_like(top)
    x = torch.stack([top, one, 1 - bottom, zero], -1)
    y = torch.stack([zero, right, one, 1 - left], -1)
    return low[..., None, :] + torch.stack([x, y], -1) * size[..., None, :]


def least_around(quads: Tensor) -> Tensor:
    """Return the rectangles of least area (..., 5), canonical, around (..., 4, 2); no gradient.

    Of a quadrilateral that is not finite all numbers are NaN.
    """
    points = quads.detach().reshape(-1, 4, 2).double()
    broken = ~points.isfinite().flatten(1).all(1, keepdim=True)
    points = points.masked_fill(broken[..., None], 0.0)
    if not fixed_shapes(points):  # on the CPU, not in a graph: compiled code
        boxes = torch.from_numpy(corners_to_obb(points.numpy()))
    else:
        boxes = canonical(least_rectangles(points))
    boxes = boxes.masked_fill(broken, torch.nan)
    return boxes.to(quads.dtype).reshape(*quads.shape[:-2], 5)


def from_edges(quads: Tensor) -> Tensor:
    """Return canonical boxes (..., 5) from the first two edges of (..., 4, 2) quadrilaterals.

    Their lengths are the sides, the first diagonal's middle the centre; the angle is of the first
    edge if it is the longer one, else of the last. Exact for rectangles only (mmrotate).
    """
    first, second = quads[..., 1, :] - quads[..., 0, :], quads[..., 2, :] - quads[..., 1, :]
    last = quads[..., 3, :] - quads[..., 0, :]
    sides = torch.stack([first.norm(dim=-1), second.norm(dim=-1)], -1)
    long = torch.where((sides[..., 0] > sides[..., 1])[..., None], first, last)
    centre = (quads[..., 0, :] + quads[..., 2, :]) / 2
    angle = torch.atan2(long[..., 1], long[..., 0])[..., None]
    return canonical(torch.cat([centre, sides.amax(-1, True), sides.amin(-1, True), angle], -1))


def _wrap(angle: Tensor, lowest: float = -math.pi / 2) -> Tensor:
    """Bring angles into [lowest, lowest + pi), as lines: modulo pi."""
    wrapped = angle - math.pi * torch.floor((angle - lowest) / math.pi)
    # rounding may leave the half-open interval
    wrapped = torch.where(wrapped >= lowest + math.pi, wrapped - math.pi, wrapped)
    return wrapped.clamp(min=lowest)


def _nearer(boxes: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Return sides (..., 2) and angle (...,) of the description whose ``angle`` is nearer to 0."""
    angle = _wrap(angle)
    swap = angle.abs() >= math.pi / 4
    quarter = torch.where(angle > 0, angle - math.pi / 2, angle + math.pi / 2)
    sides = torch.where(swap[..., None], boxes[..., 2:4].flip(-1), boxes[..., 2:4])
    return sides, torch.where(swap, quarter, angle)


def _axes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the unit vectors (..., 2) along w and h of oriented boxes."""
    cos, sin = boxes[..., 4].cos(), boxes[..., 4].sin()
    return torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)
