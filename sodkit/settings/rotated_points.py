"""Settings of RepPoints for oriented boxes: Rotated RepPoints and Oriented RepPoints.

The defaults of what they share are those of the SODA-A benchmark; of Oriented RepPoints alone, for
which the benchmark has no file, those of mmrotate for DOTA.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from sodkit.settings.anchor_levels import strides
from sodkit.settings.base import (
    Backbone,
    Beyond,
    BoxKind,
    Count,
    Positive,
    Settings,
    Share,
    Switch,
)
from sodkit.settings.dense import DenseMatching, FocalLoss, whole_groups


class HullMatching(DenseMatching):
    """Max-IoU assignment of the convex hulls of the initial points."""

    positive: Share = 0.4
    negative: Share = 0.3
    transposed: Switch = Field(
        False, description="match with x and y of the points about their location exchanged, as "
        "mmrotate does",
    )  # fmt: skip


class OrientedPoints(Settings):
    """What RepPoints of oriented boxes have in common."""

    backbone: Backbone = Backbone()
    channels: Count = 256
    groups: Count = Field(32, description="of the group norms of pyramid and towers")
    first_level: Literal[2, 3] = Field(2, description="the finest level: P2, or P3 (DOTA)")
    levels: Literal[4, 5] = Field(5, description="P2..P6 (of P3 on: P3..P7), or one less")
    convs: Count = Field(3, description="convolutions of each tower")
    level_scale: Positive = Field(
        4.0, description="an object is learnt on the level whose stride is its mean side, divided "
        "by this, rounded down to a power of two",
    )  # fmt: skip
    offset_gradient: Share = Field(
        0.3, description="share of the gradient that the initial points get as offsets"
    )
    focal: FocalLoss = FocalLoss()
    init_weight: float = 0.375
    refine_weight: float = 1.0
    pre: Count = Field(2000, description="locations decoded a level, by their best class")
    outside: Beyond = "drop"

    @field_validator("groups")
    @classmethod
    def _whole(cls, value: int, info: ValidationInfo) -> int:
        return whole_groups(value, info)

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "oriented"

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels in px."""
        return strides(2**self.first_level, self.levels)


class RotatedRepPoints(OrientedPoints):
    """RepPoints (Yang et al., ICCV 2019) with convex hulls in place of moments."""

    kind: Literal["rotated-reppoints"] = "rotated-reppoints"
    matching: HullMatching = HullMatching()


class PointQuality(Settings):
    """How the point sets that could learn an object are ranked, and how many do."""

    refined_share: Share = Field(
        0.8, description="share of the refined points in location and orientation, beside the "
        "initial ones",
    )  # fmt: skip
    orientation: Annotated[float, Field(ge=0)] = Field(
        0.3, description="weight of the distance between the sides of rectangle and object"
    )
    correlation: Annotated[float, Field(ge=0)] = Field(
        0.1, description="weight of how much the features differ from point to point"
    )
    each_level: Count = Field(6, description="point sets of an object and a level that compete")
    kept: Share = Field(0.4, description="share of an object's competing sets that learn it")


class OrientedRepPoints(OrientedPoints):
    """Oriented RepPoints (Li et al., CVPR 2022)."""

    kind: Literal["oriented-reppoints"] = "oriented-reppoints"
    matching: HullMatching = HullMatching(positive=0.1, negative=0.1)
    quality: PointQuality = PointQuality()
    spatial_init_weight: float = 0.05
    spatial_refine_weight: float = 0.1
