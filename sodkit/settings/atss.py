"""Settings of ATSS."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from sodkit.settings.anchor_levels import AnchorLevel, levels
from sodkit.settings.base import Count, Four, Positive
from sodkit.settings.dense import DenseParts, whole_groups


class AtssParts(DenseParts):
    """What ATSS and detectors with another head on its matcher and losses have."""

    anchor_scale: Positive = Field(2.0, description="side of the anchors in strides")
    stds: Four = (0.1, 0.1, 0.2, 0.2)
    candidates: Count = Field(
        9, description="anchors of each level, nearest to an object, among which positives are "
        "chosen",
    )  # fmt: skip
    regression_weight: float = 2.0

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors: one a location, square."""
        return levels(self.strides, (self.anchor_scale,), (1.0,))


class Atss(AtssParts):
    """ATSS (Zhang et al., CVPR 2020) as the SODA-D benchmark sets it."""

    kind: Literal["atss"] = "atss"
    convs: Count = Field(4, description="convolutions of each tower")
    groups: Count = Field(32, description="of the towers' group norm")

    @field_validator("groups")
    @classmethod
    def _whole(cls, value: int, info: ValidationInfo) -> int:
        return whole_groups(value, info)
