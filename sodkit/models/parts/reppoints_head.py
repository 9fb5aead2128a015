"""The heads of RepPoints: nine points for each location, moved once more, and what they span.

``PointsHead`` places the points, which are the object itself for oriented boxes; ``RepPointsHead``
has moments that make upright boxes of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.models.kernels.deformable_conv import DeformableConv
from sodkit.models.parts.dense_head import init_dense, tower
from sodkit.models.parts.selection import by_location

POINTS = 9
"""As many as a 3x3 convolution has taps: the points are where it samples."""


@dataclass(frozen=True, slots=True, eq=False)
class PointSets:
    """The head's output for every location; lists hold one tensor a level.

    Points are (y, x) in strides from their location.

    Attributes:
        logits: (B, N_l, classes), in the order of rows and columns.
        initial: (B, N_l, 9, 2) float32.
        refined: (B, N_l, 9, 2) float32.
    """

    logits: list[Tensor]
    initial: list[Tensor]
    refined: list[Tensor]


class PointsHead(nn.Module):
    """Classes and points of each location (Yang et al., ICCV 2019, Figure 2).

    Args:
        channels: of the pyramid and the towers.
        convs: convolutions of each tower.
        classes: outputs a class; there is no background.
        prior: score of every class at the start.
        offset_gradient: share of the gradient that initial points get as offsets.
        groups: of a group norm after each convolution of the towers, which then has no bias; None:
            no norm.
    """

    def __init__(
        self, channels: int, convs: int, classes: int, prior: float, offset_gradient: float,
        groups: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cls_tower, self.reg_tower = (
            tower(channels, convs, groups=groups, bias=groups is None) for _ in range(2)
        )
        self.initial_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.initial_out = nn.Conv2d(channels, 2 * POINTS, 1)
        self.cls_conv = DeformableConv(channels, channels)
        self.cls_out = nn.Conv2d(channels, classes, 1)
        self.refined_conv = DeformableConv(channels, channels)
        self.refined_out = nn.Conv2d(channels, 2 * POINTS, 1)
        self._offset_gradient = offset_gradient
        init_dense(self, self.cls_out, prior)

    def forward(self, pyramid: Sequence[Tensor]) -> PointSets:
        """Score the locations of levels (B, C, H_l, W_l) and place their points."""
        found = [self._level(feature) for feature in pyramid]
        logits, initial, refined = (list(part) for part in zip(*found, strict=True))
        return PointSets(logits, initial, refined)

    def _level(self, feature: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        classified, regressed = self.cls_tower(feature), self.reg_tower(feature)
        initial = self.initial_out(F.relu(self.initial_conv(regressed))).float()
        # The taps of both deformable convolutions go to the initial points.
        offsets = _with_gradient(initial, self._offset_gradient) - _plain_taps(initial)
        logits = self.cls_out(F.relu(self.cls_conv(classified, offsets)))
        moves = self.refined_out(F.relu(self.refined_conv(regressed, offsets)))
        refined = initial.detach() + moves
        return by_location(logits, logits.shape[1]), _as_points(initial), _as_points(refined)


class RepPointsHead(PointsHead):
    """Points whose moments are upright boxes (Yang et al., ICCV 2019, 3.1 and 3.2).

    Args:
        moment_gradient: share of the gradient that the factors of the moments get.
        others: see ``PointsHead``.
    """

    def __init__(
        self, channels: int, convs: int, classes: int, prior: float,
        offset_gradient: float, moment_gradient: float,
    ) -> None:  # fmt: skip
        super().__init__(channels, convs, classes, prior, offset_gradient)
        self.moment = nn.Parameter(torch.zeros(2))
        self._moment_gradient = moment_gradient

    def boxes(self, points: Tensor) -> Tensor:
        """Return the boxes (..., 4) xyxy that points (..., 9, 2), (y, x), span: their moments.

        The centre is the points' mean; half of a side is their deviation times a learnt factor, one
        for the width and one for the height (3.1, moment-based function).
        """
        factor = _with_gradient(self.moment, self._moment_gradient).exp()
        mean = points.mean(-2, keepdim=True)
        # a norm, as the gradient of the deviation of nine equal points would be NaN
        deviation = (points - mean).norm(dim=-2) / math.sqrt(POINTS - 1)
        centre, half = mean[..., 0, :].flip(-1), deviation.flip(-1) * factor
        return torch.cat([centre - half, centre + half], -1)


def _with_gradient(x: Tensor, share: float) -> Tensor:
    """Return ``x``, with ``share`` of its gradient."""
    return share * x + (1 - share) * x.detach()


def _plain_taps(like: Tensor) -> Tensor:
    """Return where a plain 3x3 convolution samples: (1, 18, 1, 1), (y, x) row by row, in cells."""
    steps = torch.arange(-1, 2, device=like.device, dtype=like.dtype)
    return torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(1, -1, 1, 1)


def _as_points(x: Tensor) -> Tensor:
    """Turn (B, 18, H, W) into (B, H * W, 9, 2)."""
    return by_location(x, 2 * POINTS).reshape(len(x), -1, POINTS, 2)
