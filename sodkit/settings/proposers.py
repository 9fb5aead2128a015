"""Settings of what makes the proposals of two-stage detectors, and of how anchors are matched."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from sodkit.settings.anchor_levels import AnchorLevel, levels
from sodkit.settings.base import (
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
from sodkit.settings.dense import FocalLoss


class Threshold(Settings):
    """IoU an anchor needs to be positive in the coarse stage (paper Eq. 1, Table 6).

    min(cap, max(floor, base + gamma * log2(sqrt(w * h) / reference))), sizes at the scale of the
    patch before resizing.
    """

    kind: Literal["dynamic"] = "dynamic"
    base: float = Field(0.20, description="threshold at the reference size")
    gamma: float = Field(0.15, description="added to it when an object's side doubles")
    floor: Share = Field(0.25, description="least threshold")
    cap: Share = Field(1.0, description="largest threshold")
    reference: Positive = Field(12.0, description="side in px of an object whose threshold is base")
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
    """What the RPN and its relatives with priors of fixed shapes share."""

    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    stds: Four = (1.0, 1.0, 1.0, 1.0)
    matching: Sampling
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

    @abstractmethod
    def anchor_levels(self, strides: tuple[int, ...]) -> tuple[AnchorLevel, ...]:
        """Return the priors of each level, one a location for each ratio height / width."""


class AnchorRpn(RpnParts):
    """What the RPN and the oriented RPN share."""

    anchor_scale: Positive = 2.0
    matching: AnchorMatching = AnchorMatching()
    whole_anchors: Switch = Field(
        False, description="anchors that leave the image are not trained on (mmrotate)"
    )

    def anchor_levels(self, strides: tuple[int, ...]) -> tuple[AnchorLevel, ...]:
        """Return one anchor a location for each ratio height / width."""
        return levels(strides, (self.anchor_scale,), self.ratios)


class Rpn(AnchorRpn):
    """The ordinary RPN (Faster R-CNN)."""

    kind: Literal["rpn"] = "rpn"


class OrientedRpn(AnchorRpn):
    """The RPN of Oriented R-CNN: midpoint offsets of upright anchors."""

    midpoint_stds: tuple[float, float] = Field((0.5, 0.5), description="of the midpoint offsets")
    vertices: Literal["neighbours", "release"] = Field(
        "neighbours",
        description="topmost and rightmost corner of the targets: neighbours always, or found one"
        " by one within .1 px (mmrotate), which makes slivers of boxes that are nearly upright",
    )


Metric = Literal["kld", "wasserstein", "exp-kld"]
"""How near a prior is to an object (RFLA): 1 / (1 + D), D the divergence of the two as Gaussians or
their squared Wasserstein distance, or exp(-D / 10) of the divergence."""


class ReceptiveMatching(Sampling):
    """RFLA's hierarchical label assignment, and random sampling; numbers as for AI-TOD."""

    metric: Metric = "kld"
    nearest: Count = Field(3, description="priors an object takes in the first round")
    shrink: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9, description="of the priors' sides, in the second round"
    )
    nearest_shrunk: Count = Field(1, description="priors an object takes in the second round")
    negative: Share = Field(0.8, description="free priors this near to an object are ignored")


class ShapeMatching(AnchorMatching):
    """The same for the locations that shapes are learnt at."""


class Guided(Settings):
    """GA-RPN (Wang et al., CVPR 2019): where anchors stand and how they are shaped is learnt."""

    kind: Literal["guided"] = "guided"
    scale: Positive = Field(2.0, description="side of the squares that are shaped, in strides")
    octave: Count = Field(3, description="scales in a doubling of the boxes a shape is matched by")
    ratios: tuple[float, ...] = Field((0.5, 1.0, 2.0), description="height / width of these boxes")
    shape_std: Positive = Field(0.14, description="of the anchors' sides")
    stds: Four = (0.07, 0.07, 0.11, 0.11)
    region: Region = Field(Region(), description="of an object: centre locations, and ignored ones")
    location: Literal["centres", "released", "inverted"] = Field(
        "centres",
        description="what has a high location score: centres of objects (paper), or all else: "
        "`released` is trained so and filters as if it were not (mmdetection since 2.0), "
        "`inverted` is trained so and filters accordingly",
    )
    location_threshold: Share = Field(
        0.01, description="at test time locations with a lower score give no proposals"
    )
    location_normalizer: Positive = Field(
        200.0, description="the location loss is divided by locations / this"
    )
    focal: FocalLoss = Field(FocalLoss(), description="of the locations")
    shape_matching: ShapeMatching = ShapeMatching()
    matching: AnchorMatching = AnchorMatching()
    location_weight: float = 1.0
    shape_weight: float = 1.0
    regression_weight: float = 1.0
    classification_weight: float = 1.0
    nms_pre: TrainTest = TrainTest(train=2000, test=1000)
    nms_train: Share = 0.7
    nms_test: Share = 0.7
    limit: TrainTest = Field(TrainTest(train=300, test=300), description="proposals an image")

    def anchor_levels(self, strides: tuple[int, ...]) -> tuple[AnchorLevel, ...]:
        """Return one square a location."""
        return levels(strides, (self.scale,), (1.0,))

    def shape_levels(self, strides: tuple[int, ...]) -> tuple[AnchorLevel, ...]:
        """Return the boxes whose best IoU with an object is that of a location's anchor."""
        scales = [self.scale * 2 ** (i / self.octave) for i in range(self.octave)]
        return levels(strides, scales, self.ratios)


class Rfla(RpnParts):
    """RFLA (Xu et al., ECCV 2022): an RPN on receptive fields instead of anchors."""

    kind: Literal["rfla"] = "rfla"
    fields: tuple[Positive, Positive, Positive, Positive, Positive] = Field(
        (35.0, 91.0, 267.0, 427.0, 555.0),
        description="theoretical receptive fields of P2..P6 in px, of ResNet-50 as the release "
        "counts them",
    )
    share: Positive = Field(0.5, description="side of a prior in parts of the receptive field")
    matching: ReceptiveMatching = ReceptiveMatching()
    shrunk_targets: Switch = Field(
        False, description="boxes are learnt from the shrunk priors (release)"
    )

    def anchor_levels(self, strides: tuple[int, ...]) -> tuple[AnchorLevel, ...]:
        """Return one prior a location for each ratio height / width, of the level's size."""
        return tuple(
            level
            for stride, side in zip(strides, self.fields, strict=False)
            for level in levels((stride,), (self.share * side / stride,), self.ratios)
        )
