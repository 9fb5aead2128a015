"""Settings of the dense (one-stage) detectors of oriented boxes.

The defaults are those of the SODA-A benchmark.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sodkit.settings.anchor_levels import AnchorLevel, levels, strides
from sodkit.settings.base import Backbone, Beyond, BoxKind, Count, Positive, Settings
from sodkit.settings.dense import DenseMatching, FocalLoss

Five = tuple[float, float, float, float, float]


class RotatedRetinaNet(Settings):
    """RetinaNet whose upright anchors learn oriented boxes, by rotated IoU."""

    kind: Literal["rotated-retinanet"] = "rotated-retinanet"
    backbone: Backbone = Backbone()
    channels: Count = 256
    first_level: Literal[2, 3] = Field(2, description="the finest level: P2, or P3 (DOTA)")
    levels: Literal[4, 5] = Field(5, description="P2..P6 (of P3 on: P3..P7), or one less")
    convs: Count = Field(4, description="convolutions of each tower")
    anchor_scale: Positive = Field(1.0, description="side of the smallest anchor in strides")
    octave: Count = Field(1, description="scales of anchors within a doubling")
    ratios: tuple[float, ...] = (1.0, 0.5, 2.0)
    stds: Five = (1.0, 1.0, 1.0, 1.0, 1.0)
    matching: DenseMatching = DenseMatching()
    focal: FocalLoss = FocalLoss()
    regression_weight: float = 1.0
    pre: Count = Field(2000, description="anchors decoded a level, by their best class")
    outside: Beyond = "drop"

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "oriented"

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels in px."""
        return strides(2**self.first_level, self.levels)

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors, all scales of a ratio together."""
        scales = [self.anchor_scale * 2 ** (i / self.octave) for i in range(self.octave)]
        return levels(self.strides, scales, self.ratios)
