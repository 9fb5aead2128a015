"""Settings of the two-stage detectors and their parts.

The defaults are the paper's CFINet for SODA-D.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sodkit.settings.anchor_levels import AnchorLevel, levels, strides
from sodkit.settings.base import (
    Backbone,
    Beyond,
    BoxKind,
    Count,
    Four,
    IouMatching,
    Positive,
    Sampling,
    Settings,
    Share,
    Switch,
    TrainTest,
)

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


class Threshold(Settings):
    """IoU an anchor needs to be positive in the coarse stage (paper Eq. 1, Table 6).

    min(cap, max(floor, base + gamma * log2(sqrt(w * h) / reference))), sizes at the scale of the
    patch before resizing.
    """

    kind: Literal["dynamic"] = "dynamic"
    base: float = 0.20
    gamma: float = 0.15
    floor: Share = 0.25
    cap: Share = 1.0
    reference: Positive = 12.0
    match_best: Switch = Field(
        True, description="an object without a positive anchor gets its best one (docs/release.md)"
    )


class Region(Settings):
    """Cascade RPN's region-based assignment (paper Table 1): shares of an object's sides."""

    kind: Literal["region"] = "region"
    positive: Share = Field(0.2, description="of the inner region: positive")
    ignored: Share = Field(0.5, description="of the outer region: ignored, so not negative")


class AnchorMatching(IouMatching, Sampling):
    """Max-IoU assignment of anchors, and random sampling."""


class FineMatching(AnchorMatching):
    """The same for the fine stage: what is not positive is negative."""

    negative: Share = 0.7


class HeadMatching(Sampling):
    """Max-IoU assignment of proposals; the objects' own boxes join them."""

    positive: Share = 0.5
    negative: Share = 0.5


class Crpn(Settings):
    """Coarse-to-fine RPN (paper 3.1)."""

    kind: Literal["crpn"] = "crpn"
    anchor_scale: Positive = Field(2.0, description="anchor side in strides, one a location")
    assignment: Annotated[Threshold | Region, Field(discriminator="kind")] = Field(
        Threshold(), description="of the coarse stage: by IoU (paper), or as in Cascade RPN"
    )
    coarse_stds: Four = (0.1, 0.1, 0.5, 0.5)
    fine_stds: Four = (0.05, 0.05, 0.1, 0.1)
    fine: FineMatching = FineMatching()
    regression_weight: float = Field(9.0, description="alpha_1")
    classification_weight: float = Field(0.9, description="alpha_2")
    coarse_normalizer: Positive | Literal["positives"] = Field(
        200.0,
        description="the coarse loss is divided by anchors / this (release), or by positives",
    )
    nms_pre: TrainTest = TrainTest(train=2000, test=1000)
    nms_train: Share = 0.8
    nms_test: Share = 0.5
    limit: TrainTest = Field(TrainTest(train=300, test=300), description="proposals an image")

    def anchor_levels(self, strides: tuple[int, ...]) -> tuple[AnchorLevel, ...]:
        """Return one square a location."""
        return levels(strides, (self.anchor_scale,), (1.0,))


class RpnParts(Settings):
    """What the RPN and the oriented RPN share."""

    anchor_scale: Positive = 2.0
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    stds: Four = (1.0, 1.0, 1.0, 1.0)
    matching: AnchorMatching = AnchorMatching()
    whole_anchors: Switch = Field(
        False, description="anchors that leave the image are not trained on (mmrotate)"
    )
    regression_weight: float = 1.0
    regression_beta: Annotated[float, Field(ge=0)] = Field(
        0.0, description="of SmoothL1, in deviations of the deltas; 0: L1"
    )
    classification_weight: float = 1.0
    nms_pre: TrainTest = TrainTest(train=2000, test=1000)
    nms_train: Share = 0.7
    nms_test: Share = 0.7
    limit: TrainTest = Field(TrainTest(train=1000, test=1000), description="proposals an image")
    outside: Literal["drop", "keep"] = Field(
        "drop",
        description="proposals that the image's border cuts away wholly, oriented ones centred"
        " beyond it: left out, or kept (mmrotate)",
    )

    def anchor_levels(self, strides: tuple[int, ...]) -> tuple[AnchorLevel, ...]:
        """Return one anchor a location for each ratio height / width."""
        return levels(strides, (self.anchor_scale,), self.ratios)


class Rpn(RpnParts):
    """The ordinary RPN (Faster R-CNN)."""

    kind: Literal["rpn"] = "rpn"


class OrientedRpn(RpnParts):
    """The RPN of Oriented R-CNN: midpoint offsets of upright anchors."""

    midpoint_stds: tuple[float, float] = Field((0.5, 0.5), description="of the midpoint offsets")
    vertices: Literal["neighbours", "release"] = Field(
        "neighbours",
        description="topmost and rightmost corner of the targets: neighbours always, or found one"
        " by one within .1 px (mmrotate), which makes slivers of boxes that are nearly upright",
    )


class UprightBox(Settings):
    """The head regresses upright boxes."""

    kind: Literal["upright"] = "upright"
    stds: Four = (0.1, 0.1, 0.2, 0.2)

    @property
    def boxes(self) -> BoxKind:
        """What the detector learns."""
        return "horizontal"


class OrientedBox(Settings):
    """The head regresses oriented boxes: centre, sides, angle."""

    kind: Literal["oriented"] = "oriented"
    stds: Four = (0.1, 0.1, 0.2, 0.2)
    angle_std: Positive = Field(0.1, description="of the angle")
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
    proposals: Annotated[Rpn | Crpn, Field(discriminator="kind")] = Rpn()
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
