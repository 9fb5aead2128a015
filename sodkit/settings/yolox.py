"""Settings of YOLOX."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from sodkit.settings.base import BoxKind, Count, Positive, Settings

Inner = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]

STEM = 64
"""Channels of the stem at width 1; C3, C4 and C5 have 4, 8 and 16 times as many."""


class SimOta(Settings):
    """Which cells learn which object, by what it would cost (YOLOX, 2.1)."""

    radius: Positive = Field(
        2.5, description="strides from an object's centre, on either axis, in which cells may learn"
    )
    candidates: Count = Field(
        10, description="an object gets as many cells as the sum of its so many best IoUs"
    )
    iou_weight: Weight = Field(3.0, description="of -ln IoU, beside the cost of the classes")


class Yolox(Settings):
    """YOLOX (Ge et al., 2021) as the SODA-D benchmark sets it: YOLOX-s.

    YOLOX-m, l and x have depth .67, 1, 1.33 and width .75, 1, 1.25. Nothing is pretrained.
    """

    kind: Literal["yolox"] = "yolox"
    depth: Positive = Field(0.33, description="factor on the number of blocks of CSPDarknet-53")
    width: Positive = Field(0.5, description="factor on its channels, and on the pyramid's")
    convs: Count = Field(2, description="convolutions of each tower")
    prior: Inner = Field(0.01, description="score of every class, and of an object, at the start")
    matching: SimOta = SimOta()
    box_weight: Weight = Field(5.0, description="of 1 - IoU^2")
    l1_weight: Weight = Field(
        1.0, description="of the L1 loss of boxes, which is only of the last epochs"
    )

    @field_validator("width")
    @classmethod
    def _whole(cls, value: float) -> float:
        if STEM * value != int(STEM * value):
            raise ValueError(f"{STEM} times it must be a whole number of channels")
        return value

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "horizontal"

    @property
    def stem(self) -> int:
        """Channels of the stem."""
        return int(STEM * self.width)

    def blocks(self, count: int) -> int:
        """Return the number of blocks that so many at depth 1 become."""
        return max(round(count * self.depth), 1)
