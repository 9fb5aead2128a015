"""Settings of RoI Transformer (Ding et al., CVPR 2019)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sodkit.settings.anchor_levels import AnchorLevel
from sodkit.settings.base import Backbone, BoxKind, Settings, TrainTest
from sodkit.settings.proposers import Crpn, Guided, Rfla, Rpn
from sodkit.settings.two_stage import (
    Fpn,
    HeadMatching,
    HeadParts,
    OrientedBox,
    OrientedDeltas,
    OrientedRoiHead,
)


class Learner(HeadParts):
    """The head that turns upright proposals: one oriented box each, whatever its class."""

    class_agnostic: Literal[True] = True
    loss: Literal["l1", "smooth_l1"] = "smooth_l1"
    matching: HeadMatching = HeadMatching(samples=512, positive_share=0.25)
    box: OrientedDeltas = OrientedDeltas(angle_std=1.0)


class RoiTransformer(Settings):
    """RoI Transformer: upright proposals are turned by one head, classified by another."""

    kind: Literal["roi-transformer"] = "roi-transformer"
    backbone: Backbone = Backbone()
    fpn: Fpn = Fpn(levels=5)
    proposals: Annotated[Rpn | Crpn | Rfla | Guided, Field(discriminator="kind")] = Rpn(
        whole_anchors=True,
        regression_beta=1 / 9,
        nms_pre=TrainTest(train=2000, test=2000),
        limit=TrainTest(train=2000, test=2000),
    )
    learner: Learner = Field(Learner(), description="upright proposals to oriented ones")
    roi: OrientedRoiHead = Field(
        OrientedRoiHead(
            loss="smooth_l1",
            matching=HeadMatching(samples=512, positive_share=0.25),
            box=OrientedBox(stds=(0.05, 0.05, 0.1, 0.1), angle_std=0.5),
        ),
        description="oriented proposals to boxes, in the frame of each",
    )

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "oriented"

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors of the proposal network."""
        return self.proposals.anchor_levels(self.fpn.strides)
