"""Settings of RepPoints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sodkit.settings.anchor_levels import strides
from sodkit.settings.base import Backbone, BoxKind, Count, Positive, Settings, Share, Switch
from sodkit.settings.dense import DenseMatching, FocalLoss


class BoxMatching(DenseMatching):
    """Max-IoU assignment of the boxes of the initial points."""

    claim_apart: Switch = Field(
        False, description="an object that no box overlaps makes every box positive, as in the "
        "benchmark's training; else it gets none",
    )  # fmt: skip


class RepPoints(Settings):
    """RepPoints (Yang et al., ICCV 2019), boxes by moments, as the SODA-D benchmark sets it."""

    kind: Literal["reppoints"] = "reppoints"
    backbone: Backbone = Backbone()
    channels: Count = 256
    levels: Literal[4, 5] = Field(4, description="P3..P6, or up to P7")
    convs: Count = Field(3, description="convolutions of each tower")
    level_scale: Positive = Field(
        4.0, description="an object is learnt on the level whose stride is its mean side, divided "
        "by this, rounded down to a power of two",
    )  # fmt: skip
    offset_gradient: Share = Field(
        0.1, description="share of the gradient that the initial points get as offsets"
    )
    moment_gradient: Share = Field(
        0.01, description="share of the gradient that the factors of the moments get"
    )
    matching: BoxMatching = BoxMatching()
    focal: FocalLoss = FocalLoss()
    loss_scale: Positive = Field(2.0, description="strides that are 1 in the losses of boxes")
    beta: Positive = Field(0.11, description="where smooth L1 turns from a square to a line")
    init_weight: float = 0.5
    refine_weight: float = 1.0
    pre: Count = Field(1000, description="pairs of location and class kept a level before NMS")

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "horizontal"

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels in px."""
        return strides(8, self.levels)
