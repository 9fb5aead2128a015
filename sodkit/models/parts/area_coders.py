"""Oriented boxes by aspect ratio and area instead of width and height (DODet).

Cheng et al., "Dual-Aligned Oriented Detector" (TGRS 2022). A delta is (dx, dy, dr, ds, angle): the
shift as of ``rotated_coders``, dr = log(r' / r) of the ratios r = w / h, ds = log(s' / s) of the
areas s = w * h. With the logarithms of the sides' ratios, dw and dh, that is dr = dw - dh and
ds = dw + dh: so these coders turn two columns of the others. An error of dr then leaves the area
as it is, one of ds the shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.models.kernels.constants import constant
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.coders import RATIO_LIMIT

_PLAIN = (1.0, 1.0, 1.0, 1.0, 1.0)


def encode_upright(references: Tensor, boxes: Tensor, stds: Sequence[float]) -> Tensor:
    """Return the deltas (..., 5) from upright anchors (..., 4) xyxy to oriented boxes (..., 5).

    The angle is in turns, of the description that is nearer to angle 0.
    """
    return _to_area(rotated_coders.encode_upright(references, boxes, _PLAIN), stds)


def decode_upright(references: Tensor, deltas: Tensor, stds: Sequence[float]) -> Tensor:
    """Apply deltas (..., 5) to upright anchors (..., 4); canonical oriented boxes (..., 5)."""
    return rotated_coders.decode_upright(references, _to_sides(deltas, stds), _PLAIN)


def encode_rotated(references: Tensor, boxes: Tensor, stds: Sequence[float]) -> Tensor:
    """Return the deltas (..., 5) from oriented proposals (..., 5) to oriented boxes (..., 5).

    In the frame of the proposal; the angle is the difference in radians of the nearer description.
    """
    return _to_area(rotated_coders.encode_rotated(references, boxes, _PLAIN), stds)


def decode_rotated(references: Tensor, deltas: Tensor, stds: Sequence[float]) -> Tensor:
    """Apply deltas (..., 5) to oriented proposals (..., 5); canonical oriented boxes (..., 5)."""
    return rotated_coders.decode_rotated(references, _to_sides(deltas, stds), _PLAIN)


def _to_area(deltas: Tensor, stds: Sequence[float]) -> Tensor:
    """Turn (dx, dy, dw, dh, angle) into (dx, dy, dr, ds, angle), divided by their deviations."""
    dx, dy, dw, dh, angle = deltas.unbind(-1)
    return torch.stack([dx, dy, dw - dh, dw + dh, angle], -1) / constant(stds, deltas)


def _to_sides(deltas: Tensor, stds: Sequence[float]) -> Tensor:
    """Undo ``_to_area``; ratio and area are at most 1000 / 16 times the reference's (release)."""
    deltas = deltas.float()
    dx, dy, dr, ds, angle = (deltas * constant(stds, deltas)).unbind(-1)
    dr, ds = dr.clamp(-RATIO_LIMIT, RATIO_LIMIT), ds.clamp(-RATIO_LIMIT, RATIO_LIMIT)
    return torch.stack([dx, dy, (ds + dr) / 2, (ds - dr) / 2, angle], -1)
