"""Settings of RetinaNet, and of parts that all dense (one-stage) detectors have."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo

from sodkit.settings.anchor_levels import AnchorLevel, levels, strides
from sodkit.settings.base import (
    Backbone,
    BoxKind,
    Count,
    Four,
    IouMatching,
    Positive,
    Settings,
    Share,
)


class FocalLoss(Settings):
    """Focal loss (Lin et al., ICCV 2017, Eq. 5)."""

    alpha: Share = Field(0.25, description="weight of positives; negatives have 1 - alpha")
    gamma: Annotated[float, Field(ge=0)] = Field(
        2.0, description="how much less what is easy counts: by (1 - p) ** gamma"
    )
    prior: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.01, description="score of every class at the start: the bias is -ln((1 - prior) / prior)"
    )


def whole_groups(groups: int, info: ValidationInfo) -> int:
    """Return the groups of a group norm of ``channels`` if each has at least two channels.

    Raises:
        ValueError: they do not divide the channels so.
    """
    channels = info.data.get("channels")
    if channels is not None and (channels % groups or channels < 2 * groups):
        raise ValueError(f"{channels} channels cannot be {groups} groups of two or more each")
    return groups


class DenseMatching(IouMatching):
    """Max-IoU assignment without sampling: all anchors are trained on."""

    positive: Share = 0.5
    negative: Share = 0.4
    low_quality: Share | None = 0.0


class DenseParts(Settings):
    """What the dense detectors of upright boxes have in common: levels from P3 on."""

    backbone: Backbone = Backbone()
    channels: Count = 256
    levels: Literal[4, 5] = Field(4, description="P3..P6, or up to P7")
    focal: FocalLoss = FocalLoss()
    pre: Count = Field(
        1000, description="pairs of anchor (or location) and class kept a level before NMS"
    )

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "horizontal"

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels in px."""
        return strides(8, self.levels)


class RetinaNet(DenseParts):
    """RetinaNet (Lin et al., ICCV 2017) as the SODA-D benchmark sets it."""

    kind: Literal["retinanet"] = "retinanet"
    convs: Count = Field(4, description="convolutions of each tower")
    anchor_scale: Positive = Field(2.0, description="side of the smallest anchor in strides")
    octave: Count = Field(3, description="scales of anchors within a doubling")
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    stds: Four = (1.0, 1.0, 1.0, 1.0)
    matching: DenseMatching = DenseMatching()
    regression_weight: float = 1.0

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors, all scales of a ratio together."""
        scales = [self.anchor_scale * 2 ** (i / self.octave) for i in range(self.octave)]
        return levels(self.strides, scales, self.ratios)
