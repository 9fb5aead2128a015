"""What the R-CNN head regresses: upright boxes, or oriented ones in three ways.

A kind of regression defines the true boxes of a target, what the deltas are compared with, and what
they decode to. The rest of the head is the same for all.

``Coded``    upright RoI -> upright box (Faster R-CNN, CFINet on SODA-D)
             upright RoI -> oriented box: the angle of the nearer description, in turns
             (Rotated Faster R-CNN, CFINet on SODA-A, the first head of RoI Transformer)
             oriented RoI -> oriented box, in the frame of the RoI (Oriented R-CNN, the second head
             of RoI Transformer), or by aspect ratio and area instead of the sides (DODet)
``Gliding``  upright RoI -> vertices on the sides of the enclosing box (Gliding Vertex)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor
from torch.nn import functional as F

from sodkit.data.batches import Target
from sodkit.models.parts import area_coders, coders, rotated_coders
from sodkit.settings.dodet import GuidedHead
from sodkit.settings.roi_transformer import Learner
from sodkit.settings.two_stage import GlidingBox, OrientedDeltas, OrientedRoiHead, RoiHead

Loss = Callable[[Tensor, Tensor], Tensor]
"""From deltas and targets (N, K) to the sum of the loss."""

Coder = Callable[[Tensor, Tensor, Sequence[float]], Tensor]
"""From RoIs, boxes or deltas, and the deltas' deviations to deltas or boxes."""

Boxes = Callable[[Target], Tensor]
"""From a target to its objects, a row each."""


class Regression(Protocol):
    """A kind of box regression.

    Attributes:
        columns: numbers a box.
    """

    @property
    def columns(self) -> int:
        """Numbers a box."""

    def own(self, target: Target) -> Tensor:
        """Return the objects of an image as RoIs: what joins the proposals in training."""

    def truth(self, target: Target) -> Tensor:
        """Return the objects (G, 4 or 5) of an image as they are regressed."""

    def loss(self, deltas: Tensor, rois: Tensor, truth: Tensor) -> Tensor:
        """Return the summed loss of deltas (N, columns) from RoIs to their objects."""

    def decode(self, rois: Tensor, deltas: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return the boxes (..., 4 or 5) that ``deltas`` (..., columns) make of RoIs.

        ``size`` (height, width) of their image: what the release's Gliding Vertex clips to.
        """


@dataclass(frozen=True, slots=True)
class Coded:
    """A coder's deltas, all compared alike.

    Attributes:
        stds: the deltas' standard deviations, one a column.
        compare: the loss of deltas and targets.
        encode: from RoIs, objects and ``stds`` to targets.
        decode_with: from RoIs, deltas and ``stds`` to boxes.
        own_boxes: see ``own``.
        true_boxes: see ``truth``.
    """

    stds: tuple[float, ...]
    compare: Loss
    encode: Coder
    decode_with: Coder
    own_boxes: Boxes
    true_boxes: Boxes

    @property
    def columns(self) -> int:
        """Numbers a box."""
        return len(self.stds)

    def own(self, target: Target) -> Tensor:
        """Return the objects as RoIs."""
        return self.own_boxes(target)

    def truth(self, target: Target) -> Tensor:
        """Return the objects as they are regressed."""
        return self.true_boxes(target)

    def loss(self, deltas: Tensor, rois: Tensor, truth: Tensor) -> Tensor:
        """Compare with the coder's deltas."""
        return self.compare(deltas, self.encode(rois, truth, self.stds))

    def decode(self, rois: Tensor, deltas: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Apply the deltas; boxes stay whole, whatever the ``size`` of the image."""
        return self.decode_with(rois, deltas, self.stds)


@dataclass(frozen=True, slots=True)
class Gliding:
    """Upright RoIs to the enclosing box (4), four glides and the share (logits of sigmoids)."""

    config: GlidingBox
    compare: Loss
    columns: int = 9

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
        beta = self.config.glide_beta
        each = F.smooth_l1_loss(glides, wanted, beta=beta, reduction="none").sum(0)
        box = self.compare(deltas[:, :4], coders.encode(rois, around, self.config.stds))
        return box + each[:4].sum() + self.config.share_weight * each[4]

    def decode(self, rois: Tensor, deltas: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return the rectangles that the settings make of the quadrilaterals."""
        around = coders.decode(rois, deltas[..., :4], self.config.stds)
        by_edges = self.config.rectangle == "edges"
        if by_edges and size is not None:
            around = coders.clip(around, size)
        quads = rotated_coders.decode_gliding(around, deltas[..., 4:].float().sigmoid())
        if by_edges:
            return rotated_coders.from_edges(quads)
        return rotated_coders.least_around(quads)


def regression(config: RoiHead | OrientedRoiHead | Learner) -> Regression:
    """Return the head's regression; of ``OrientedRoiHead`` it is in the frame of the RoI."""
    compare = _loss(config.loss)
    box, r = config.box, rotated_coders
    if isinstance(box, GlidingBox):
        return Gliding(box, compare)
    if not isinstance(box, OrientedDeltas):
        how = (coders.encode, coders.decode, upright_truth, upright_truth)
        return Coded(box.stds, compare, *how)
    if isinstance(config, OrientedRoiHead):
        how = (r.encode_rotated, r.decode_rotated, oriented_truth, oriented_truth)
    else:
        how = (r.encode_upright, r.decode_upright, upright_truth, oriented_truth)
    return Coded((*box.stds, box.angle_std), compare, *how)


def area_regression(config: GuidedHead) -> Coded:
    """Return the regression of DODet's head: in the frame of the RoI, by ratio and area."""
    how = (area_coders.encode_rotated, area_coders.decode_rotated, oriented_truth, oriented_truth)
    return Coded((*config.box.stds, config.box.angle_std), _loss(config.loss), *how)


def upright_truth(target: Target) -> Tensor:
    """Return the upright boxes (G, 4) of a target; of oriented objects what encloses them."""
    return target.boxes


def oriented_truth(target: Target) -> Tensor:
    """Return the oriented boxes (G, 5) of a target.

    Raises:
        ValueError: the target has upright boxes only.
    """
    if target.obb is None:
        raise ValueError("an oriented detector needs targets with oriented boxes")
    return target.obb


def _loss(name: Literal["l1", "smooth_l1"]) -> Loss:
    return _smooth_l1 if name == "smooth_l1" else _l1


def _l1(deltas: Tensor, wanted: Tensor) -> Tensor:
    return F.l1_loss(deltas, wanted, reduction="sum")


def _smooth_l1(deltas: Tensor, wanted: Tensor) -> Tensor:
    return F.smooth_l1_loss(deltas, wanted, beta=1.0, reduction="sum")
