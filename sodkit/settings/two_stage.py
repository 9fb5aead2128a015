"""Settings of the two-stage detectors and their parts.

The defaults are the paper's CFINet for SODA-D.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sodkit.settings.anchor_levels import AnchorLevel, strides
from sodkit.settings.base import (
    Backbone,
    Beyond,
    BoxKind,
    Count,
    Four,
    Positive,
    Sampling,
    Settings,
    Share,
    Switch,
)
from sodkit.settings.proposers import Crpn, Guided, OrientedRpn, Rfla, Rpn

FIRST_STRIDE = 4
"""Of P2; every level doubles it."""


class Fpn(Settings):
    """Feature pyramid from C2..C5."""

    channels: Count = 256
    levels: Literal[4, 5] = Field(4, description="P2..P5, or with P6 by pooling")

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels in px."""
        return strides(FIRST_STRIDE, self.levels)


class HeadMatching(Sampling):
    """Max-IoU assignment of proposals; the objects' own boxes join them."""

    positive: Share = 0.5
    negative: Share = 0.5


class UprightBox(Settings):
    """The head regresses upright boxes."""

    kind: Literal["upright"] = "upright"
    stds: Four = (0.1, 0.1, 0.2, 0.2)

    @property
    def boxes(self) -> BoxKind:
        """What the detector learns."""
        return "horizontal"


class OrientedDeltas(Settings):
    """Deviations of the deltas of oriented boxes: centre, sides, angle."""

    stds: Four = (0.1, 0.1, 0.2, 0.2)
    angle_std: Positive = Field(0.1, description="of the angle")


class OrientedBox(OrientedDeltas):
    """The head regresses oriented boxes."""

    kind: Literal["oriented"] = "oriented"
    outside: Beyond = "drop"

    @property
    def boxes(self) -> BoxKind:
        """What the detector learns."""
        return "oriented"


class GlidingBox(Settings):
    """The head regresses vertices that glide on the sides of the enclosing box (Gliding Vertex)."""

    kind: Literal["gliding"] = "gliding"
    stds: Four = (0.1, 0.1, 0.2, 0.2)
    glide_beta: Positive = Field(
        1 / 3, description="of SmoothL1 of glides and share (paper; mmrotate computes with 1)"
    )
    share_weight: float = Field(
        16.0, description="of the share's loss (paper; mmrotate computes with 1)"
    )
    rectangle: Literal["least", "edges"] = Field(
        "least",
        description="what a quadrilateral becomes: the least rectangle around it, or one with the"
        " lengths of its first two edges, of boxes clipped to the image (mmrotate)",
    )

    @property
    def boxes(self) -> BoxKind:
        """What the detector learns."""
        return "oriented"


Box = UprightBox | OrientedBox | GlidingBox


class HeadParts(Settings):
    """The R-CNN head on P2..P5, but for its boxes."""

    pool: Count = 7
    hidden: Count = 1024
    matching: HeadMatching = HeadMatching()
    classification_weight: float = 1.0
    class_agnostic: Switch = Field(False, description="one box an RoI, not one a class")
    loss: Literal["l1", "smooth_l1"] = "l1"


class RoiHead(HeadParts):
    """The head on upright proposals."""

    box: Annotated[Box, Field(discriminator="kind")] = UprightBox()


class OrientedRoiHead(HeadParts):
    """The head on oriented proposals: boxes in the frame of the RoI."""

    box: OrientedBox = OrientedBox()


class ImitationWeights(Settings):
    """Weight of an object's contrastive loss by its quality group (release)."""

    low: float = 0.5
    middle: float = 0.1
    high: float = 0.05


class Imitation(Settings):
    """Feature imitation (paper 3.2); numbers not in the paper are the release's."""

    weight: float = Field(0.5, description="alpha_3 (Table 7)")
    temperature: Positive = Field(0.6, description="tau (Table 9)")
    high_quality: Share = Field(0.65, description="T_hq (Table 8)")
    low_quality: Share = 0.25
    min_predictions: Count = Field(8, description="good predictions a high-quality object needs")
    iq_iou: Literal["prediction", "proposal"] = Field(
        "prediction",
        description="the IoU in Eq. 3: of the predicted box, or the proposal's (release)",
    )
    iq_members: Literal["argmax", "score"] = Field(
        "argmax",
        description="S' of Eq. 3: arg max is the class, or its score >= iq_score (release)",
    )
    iq_score: Share = 0.05
    queue: Count = Field(256, description="exemplars kept a class")
    samples: Count = Field(128, description="contrastive samples an object")
    low_positive_share: Share = 0.5
    middle_positive_share: Share = 0.25
    group_weights: ImitationWeights = ImitationWeights()
    shifts: tuple[float, ...] = Field(
        (0.3, 0.5), description="copies, in parts of the object's size"
    )
    scales: tuple[float, ...] = (0.97, 1.03)
    reweight: Switch = Field(
        False, description="RoI features * (1 + softmax of Feat2Embed's features) (release)"
    )
    exemplar_gradient: Literal["none", "projection"] = Field(
        "none", description="what exemplars train: nothing (paper), or fc_enc and fc_proj (release)"
    )
    rate: Positive = Field(0.05, description="factor on the learning rate of fc_enc and fc_proj")


class Cfinet(Settings):
    """CFINet: coarse-to-fine RPN, R-CNN head, feature imitation."""

    kind: Literal["cfinet"] = "cfinet"
    backbone: Backbone = Backbone()
    fpn: Fpn = Fpn()
    crpn: Crpn = Crpn()
    roi: RoiHead = RoiHead()
    imitation: Imitation | None = Imitation()

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return self.roi.box.boxes

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors of the coarse stage."""
        return self.crpn.anchor_levels(self.fpn.strides)


class FasterRcnn(Settings):
    """Faster R-CNN and its oriented relatives; with other proposals, or imitation (Table 5)."""

    kind: Literal["faster-rcnn"] = "faster-rcnn"
    backbone: Backbone = Backbone()
    fpn: Fpn = Fpn()
    proposals: Annotated[Rpn | Crpn | Rfla | Guided, Field(discriminator="kind")] = Rpn()
    roi: RoiHead = RoiHead()
    imitation: Imitation | None = None

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return self.roi.box.boxes

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors of the proposal network."""
        return self.proposals.anchor_levels(self.fpn.strides)


class OrientedRcnn(Settings):
    """Oriented R-CNN: oriented proposals, RoIAlign that turns with them."""

    kind: Literal["oriented-rcnn"] = "oriented-rcnn"
    backbone: Backbone = Backbone()
    fpn: Fpn = Fpn(levels=5)
    rpn: OrientedRpn = OrientedRpn()
    roi: OrientedRoiHead = OrientedRoiHead()

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "oriented"

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors of the proposal network."""
        return self.rpn.anchor_levels(self.fpn.strides)
