"""Settings of DHRec (Nie and Huang, TPAMI 2022)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sodkit.settings.anchor_levels import AnchorLevel, levels, strides
from sodkit.settings.base import Backbone, BoxKind, Count, Four, Positive, Settings
from sodkit.settings.dense import FocalLoss


class Dhrec(Settings):
    """DHRec: two upright rectangles and three factors an object, matched as in ATSS."""

    kind: Literal["dhrec"] = "dhrec"
    backbone: Backbone = Backbone()
    channels: Count = 256
    levels: Literal[4, 5] = Field(5, description="P2..P5, or with P6")
    convs: Count = Field(4, description="convolutions of each tower")
    anchor_scale: Positive = Field(2.0, description="side of the anchors in strides")
    stds: Four = Field((1.0, 1.0, 1.0, 1.0), description="of both rectangles")
    candidates: Count = Field(
        9, description="anchors of each level, nearest to an object, among which positives are "
        "chosen",
    )  # fmt: skip
    focal: FocalLoss = FocalLoss()
    regression_weight: float = 1.0
    factor_weight: float = 1.0
    factor_beta: Annotated[float, Field(gt=0)] = Field(1 / 9, description="of SmoothL1")
    confidence_weight: float = 1.0
    pre: Count = Field(1000, description="pairs of anchor and class kept a level before NMS")

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "oriented"

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels in px."""
        return strides(4, self.levels)

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors: one a location, square."""
        return levels(self.strides, (self.anchor_scale,), (1.0,))
