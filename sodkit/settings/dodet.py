"""Settings of DODet (Cheng et al., "Dual-Aligned Oriented Detector", TGRS 2022)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sodkit.settings.anchor_levels import AnchorLevel
from sodkit.settings.base import Backbone, BoxKind, Count, Positive, Settings, TrainTest
from sodkit.settings.proposers import AnchorRpn
from sodkit.settings.two_stage import Fpn, HeadMatching, OrientedBox


class AreaRpn(AnchorRpn):
    """The oriented proposal network: the RPN, with ratio, area and angle."""

    angle_std: Positive = Field(1.0, description="of the angle in turns")


class GuidedHead(Settings):
    """The localisation-guided head: the box that is regressed says where to classify."""

    pool: Annotated[int, Field(ge=5, le=1_000_000)] = Field(7, description="bins a side")
    hidden: Count = Field(1024, description="channels and features of both branches")
    enlarged: tuple[Positive, Positive] = Field(
        (1.2, 1.4), description="features are pooled from boxes of so many times w and h"
    )
    matching: HeadMatching = HeadMatching(samples=512, positive_share=0.25)
    classification_weight: float = 1.0
    loss: Literal["l1", "smooth_l1"] = "smooth_l1"
    box: OrientedBox = OrientedBox(angle_std=0.2)


class Dodet(Settings):
    """DODet: oriented proposals by ratio and area, classes from features of the refined box."""

    kind: Literal["dodet"] = "dodet"
    backbone: Backbone = Backbone()
    fpn: Fpn = Fpn(levels=5)
    rpn: AreaRpn = AreaRpn(
        whole_anchors=True,
        regression_beta=1 / 9,
        nms_pre=TrainTest(train=2000, test=2000),
        limit=TrainTest(train=2000, test=2000),
    )
    roi: GuidedHead = GuidedHead()

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "oriented"

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors of the proposal network."""
        return self.rpn.anchor_levels(self.fpn.strides)
