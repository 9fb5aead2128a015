"""Settings of the dense (one-stage) detectors of oriented boxes.

The defaults are those of the SODA-A benchmark.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from sodkit.settings.anchor_levels import AnchorLevel, levels, strides
from sodkit.settings.base import Backbone, Beyond, BoxKind, Count, Five, Positive, Settings
from sodkit.settings.dense import DenseMatching, FocalLoss


class RotatedDenseParts(Settings):
    """What the dense detectors of oriented boxes have in common: levels from P2 on."""

    backbone: Backbone = Backbone()
    channels: Count = 256
    first_level: Literal[2, 3] = Field(2, description="the finest level: P2, or P3 (DOTA)")
    levels: Literal[4, 5] = Field(5, description="P2..P6 (of P3 on: P3..P7), or one less")
    anchor_scale: Positive = Field(1.0, description="side of the smallest anchor in strides")
    focal: FocalLoss = FocalLoss()
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


class RotatedRetinaNet(RotatedDenseParts):
    """RetinaNet whose upright anchors learn oriented boxes, by rotated IoU."""

    kind: Literal["rotated-retinanet"] = "rotated-retinanet"
    convs: Count = Field(4, description="convolutions of each tower")
    octave: Count = Field(1, description="scales of anchors within a doubling")
    ratios: tuple[float, ...] = (1.0, 0.5, 2.0)
    stds: Five = (1.0, 1.0, 1.0, 1.0, 1.0)
    matching: DenseMatching = DenseMatching()
    regression_weight: float = 1.0

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors, all scales of a ratio together."""
        scales = [self.anchor_scale * 2 ** (i / self.octave) for i in range(self.octave)]
        return levels(self.strides, scales, self.ratios)


class Stage(Settings):
    """One of the two heads of S2A-Net: what it is trained on, and its losses' weights."""

    matching: DenseMatching = DenseMatching()
    classification_weight: float = 1.0
    regression_weight: float = 1.0


class S2ANet(RotatedDenseParts):
    """S2A-Net: anchors are turned first, then classified by features from inside them."""

    kind: Literal["s2anet"] = "s2anet"
    channels: Annotated[Count, Field(multiple_of=8)] = Field(
        256, description="of which eight are turns of one filter"
    )
    convs: Count = Field(2, description="convolutions of each tower")
    stds: Five = Field(
        (1.0, 1.0, 1.0, 1.0, math.pi), description="of both heads; the angle's in radians"
    )
    angles: Literal["nearer", "le90", "le135"] = Field(
        "le135", description="which description of an object is learnt: w is the longer side, and "
        "its angle within a half turn from -45 (le135: paper) or -90 degrees on (le90: the "
        "benchmark); or the one whose angle is nearer to the anchor's, as in Rotated RetinaNet",
    )  # fmt: skip
    beta: Positive = Field(0.11, description="of the regressions' SmoothL1")
    fam: Stage = Field(Stage(), description="feature alignment: the anchors")
    odm: Stage = Field(Stage(), description="oriented detection: the refined anchors")

    @property
    def lowest(self) -> float | None:
        """The least angle in radians; None: the nearer description."""
        return {"nearer": None, "le90": -math.pi / 2, "le135": -math.pi / 4}[self.angles]

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors: one a location, square."""
        return levels(self.strides, (self.anchor_scale,), (1.0,))
