"""Boxes and their regression targets: encoding, decoding, clipping (all float32, xyxy).

A delta is (dx, dy, dw, dh): the shift of the centre in parts of the reference's size and the
logarithm of the ratio of sizes, each divided by its standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.models.kernels.constants import constant

RATIO_LIMIT = abs(math.log(16 / 1000))
"""Decoded sides are at most 1000 / 16 times, at least 16 / 1000 of the reference's (release)."""


_WIDE = math.log(1e6)


def encode(references: Tensor, boxes: Tensor, stds: Sequence[float]) -> Tensor:
    """Return the deltas (..., 4) that lead from ``references`` to ``boxes``, sides > 0."""
    (centre, size), (target_centre, target) = centre_and_size(references), centre_and_size(boxes)
    deltas = torch.cat([(target_centre - centre) / size, torch.log(target / size)], -1)
    return deltas / constant(stds, deltas)


def decode(references: Tensor, deltas: Tensor, stds: Sequence[float]) -> Tensor:
    """Apply ``deltas`` (..., 4) to ``references`` (..., 4), with the ratio of sizes limited."""
    centre, size = move(references, deltas.float() * constant(stds, references))
    half = size / 2
    return torch.cat([centre - half, centre + half], -1)


def resize(references: Tensor, logs: Tensor) -> Tensor:
    """Return boxes (..., 4) about the same centres, their sides exp(``logs`` (..., 2)) times.

    The factors are between 1e-6 and 1e6 (GA-RPN's release).
    """
    centre, size = centre_and_size(references)
    half = size * logs.clamp(-_WIDE, _WIDE).exp() / 2
    return torch.cat([centre - half, centre + half], -1)


def move(references: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
    """Return centre and sides (..., 2) that ``deltas`` (..., >= 4), not yet scaled, lead to."""
    centre, size = centre_and_size(references)
    ratio = deltas[..., 2:4].clamp(-RATIO_LIMIT, RATIO_LIMIT).exp()
    return centre + deltas[..., :2] * size, size * ratio


def centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centre (..., 2) and the sides (..., 2) of boxes (..., 4) xyxy."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Clip boxes (..., 4) to an image of ``size`` (height, width)."""
    height, width = size
    x = boxes[..., 0::2].clamp(0, width)
    y = boxes[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)
