"""Settings of FCOS."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from sodkit.settings.base import Backbone, Count, Positive, Share
from sodkit.settings.dense import DenseParts, whole_groups


class Fcos(DenseParts):
    """FCOS (Tian et al., ICCV 2019) as the SODA-D benchmark sets it.

    With what the authors added later: centre sampling, GIoU, centerness on the box tower, distances
    in units of the stride.
    """

    kind: Literal["fcos"] = "fcos"
    backbone: Backbone = Backbone(norm="fixed")
    convs: Count = Field(4, description="convolutions of each tower")
    groups: Count = Field(32, description="of the towers' group norm")
    finest_range: Positive = Field(
        64.0,
        description="px of the input; the finest level learns boxes whose farthest side is at most "
        "so far from the point, the next from there to its double, and so on; the last all beyond",
    )
    radius: Positive = Field(
        1.5, description="positive are points at most so many strides from the box's centre, on "
        "each axis",
    )  # fmt: skip
    bias_rate: Positive = Field(2.0, description="factor on the convolutions' biases' lr")
    bias_decay: Share = Field(0.0, description="factor on their weight decay")

    @field_validator("groups")
    @classmethod
    def _whole(cls, value: int, info: ValidationInfo) -> int:
        return whole_groups(value, info)

    def ranges(self) -> tuple[tuple[float, float], ...]:
        """Return the least and the greatest farthest side of each level, px, both included.

        The benchmark's settings have four levels and five ranges, with which its code refuses to
        train; this is the repair.
        """
        ends = [self.finest_range * 2**level for level in range(self.levels - 1)]
        return tuple(zip((0.0, *ends), (*ends, math.inf), strict=True))
