"""What the R-CNN head regresses: upright boxes, or oriented ones in three ways.

Each kind says which boxes of a target are its truth, what the deltas are compared with, and what
they decode to. Everything else of the head is the same for all of them.

``Upright``     upright RoI -> upright box (Faster R-CNN, CFINet on SODA-D)
``Turned``      upright RoI -> oriented box (Rotated Faster R-CNN, CFINet on SODA-A)
``Rotated``     oriented RoI -> oriented box (Oriented R-CNN)
``Gliding``     upright RoI -> vertices on the sides of the enclosing box (Gliding Vertex)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sodkit import settings
from sodkit.data.batches import Target
from sodkit.data.records import BoxKind
from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.geometry.rotated import corners_to_obb
from sodkit.models import coders, losses, rotated_coders

Loss = Callable[[Tensor, Tensor], Tensor]
"""From deltas and targets (N, K) to the sum of the loss."""

GLIDE_BETA = 1 / 3
SHARE_WEIGHT = 16.0
"""Gliding Vertex: SmoothL1's beta of glides and share, and the weight of the share (release)."""


class Regression(Protocol):
    """A kind of box regression.

    Attributes:
        columns: numbers a box.
        oriented: it makes oriented boxes (..., 5), else upright ones (..., 4).
    """

    @property
    def columns(self) -> int:
        """Numbers a box."""

    @property
    def oriented(self) -> bool:
        """Whether the boxes made are oriented (..., 5), or upright (..., 4)."""

    def own(self, target: Target) -> Tensor:
        """Return the objects of an image as RoIs: what joins the proposals in training."""

    def truth(self, target: Target) -> Tensor:
        """Return the objects (G, 4 or 5) of an image as they are regressed."""

    def loss(self, deltas: Tensor, rois: Tensor, truth: Tensor) -> Tensor:
        """Return the summed loss of deltas (N, columns) from RoIs to their objects."""

    def decode(self, rois: Tensor, deltas: Tensor) -> Tensor:
        """Return the boxes (..., 4 or 5) that ``deltas`` (..., columns) make of RoIs."""


@dataclass(frozen=True, slots=True)
class Upright:
    """Upright RoIs to upright boxes."""

    stds: tuple[float, ...]
    compare: Loss
    columns: int = 4
    oriented: bool = False

    def own(self, target: Target) -> Tensor:
        """Return the upright boxes."""
        return target.boxes

    def truth(self, target: Target) -> Tensor:
        """Return the upright boxes."""
        return target.boxes

    def loss(self, deltas: Tensor, rois: Tensor, truth: Tensor) -> Tensor:
        """Compare with the coder's deltas."""
        return self.compare(deltas, coders.encode(rois, truth, self.stds))

    def decode(self, rois: Tensor, deltas: Tensor) -> Tensor:
        """Apply the deltas."""
        return coders.decode(rois, deltas, self.stds)


@dataclass(frozen=True, slots=True)
class Turned:
    """Upright RoIs to oriented boxes: the angle of the nearer description, in turns."""

    stds: tuple[float, ...]
    compare: Loss
    columns: int = 5
    oriented: bool = True

    def own(self, target: Target) -> Tensor:
        """Return the enclosing boxes."""
        return target.boxes

    def truth(self, target: Target) -> Tensor:
        """Return the oriented boxes."""
        return oriented_truth(target)

    def loss(self, deltas: Tensor, rois: Tensor, truth: Tensor) -> Tensor:
        """Compare with the coder's deltas."""
        return self.compare(deltas, rotated_coders.encode_upright(rois, truth, self.stds))

    def decode(self, rois: Tensor, deltas: Tensor) -> Tensor:
        """Apply the deltas."""
        return rotated_coders.decode_upright(rois, deltas, self.stds)


@dataclass(frozen=True, slots=True)
class Rotated:
    """Oriented RoIs to oriented boxes, in the frame of the RoI."""

    stds: tuple[float, ...]
    compare: Loss
    columns: int = 5
    oriented: bool = True

    def own(self, target: Target) -> Tensor:
        """Return the oriented boxes."""
        return oriented_truth(target)

    def truth(self, target: Target) -> Tensor:
        """Return the oriented boxes."""
        return oriented_truth(target)

    def loss(self, deltas: Tensor, rois: Tensor, truth: Tensor) -> Tensor:
        """Compare with the coder's deltas."""
        return self.compare(deltas, rotated_coders.encode_rotated(rois, truth, self.stds))

    def decode(self, rois: Tensor, deltas: Tensor) -> Tensor:
        """Apply the deltas."""
        return rotated_coders.decode_rotated(rois, deltas, self.stds)


@dataclass(frozen=True, slots=True)
class Gliding:
    """Upright RoIs to the enclosing box (4), four glides and the share (logits of sigmoids)."""

    stds: tuple[float, ...]
    compare: Loss
    columns: int = 9
    oriented: bool = True

    def own(self, target: Target) -> Tensor:
        """Return the enclosing boxes."""
        return target.boxes

    def truth(self, target: Target) -> Tensor:
        """Return the oriented boxes."""
        return oriented_truth(target)

    def loss(self, deltas: Tensor, rois: Tensor, truth: Tensor) -> Tensor:
        """Add the losses of the enclosing box, the glides and the share."""
        around = rotated_coders.enclosing(truth)
        wanted = rotated_coders.encode_gliding(truth)
        glides = deltas[:, 4:].sigmoid()
        each = F.smooth_l1_loss(glides, wanted, beta=GLIDE_BETA, reduction="none").sum(0)
        box = self.compare(deltas[:, :4], coders.encode(rois, around, self.stds))
        return box + each[:4].sum() + SHARE_WEIGHT * each[4]

    def decode(self, rois: Tensor, deltas: Tensor) -> Tensor:
        """Return the rectangles of least area around the quadrilaterals."""
        around = coders.decode(rois, deltas[..., :4], self.stds)
        quads = rotated_coders.decode_gliding(around, deltas[..., 4:].float().sigmoid())
        points = quads.detach().reshape(-1, 4, 2).double().cpu().numpy()
        boxes = torch.from_numpy(corners_to_obb(points)).to(around)
        return boxes.reshape(*around.shape[:-1], 5)


def regression(config: settings.RoiHead, boxes: BoxKind, proposals: str) -> Regression:
    """Return the head's regression for a kind of box and of proposals."""
    compare: Loss = _smooth_l1 if config.loss == "smooth_l1" else _l1
    if boxes == "horizontal":
        return Upright(config.stds, compare)
    if config.regression == "gliding":
        return Gliding(config.stds, compare)
    stds = (*config.stds, config.angle_std)
    if proposals == "oriented-rpn":
        return Rotated(stds, compare)
    return Turned(stds, compare)


def oriented_truth(target: Target) -> Tensor:
    """Return the oriented boxes (G, 5) of a target.

    Raises:
        ValueError: the target has upright boxes only.
    """
    if target.obb is None:
        raise ValueError("an oriented detector needs targets with oriented boxes")
    return target.obb


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU (N,) of boxes row by row, both upright (N, 4) or both oriented (N, 5)."""
    if a.shape[-1] == 4:
        return losses.paired_iou(a, b)
    first, second = (x.detach().double().cpu().numpy() for x in (a, b))
    return torch.from_numpy(rotated_iou_pairs(first, second)).to(a)


def _l1(deltas: Tensor, wanted: Tensor) -> Tensor:
    return F.l1_loss(deltas, wanted, reduction="sum")


def _smooth_l1(deltas: Tensor, wanted: Tensor) -> Tensor:
    return F.smooth_l1_loss(deltas, wanted, beta=1.0, reduction="sum")
