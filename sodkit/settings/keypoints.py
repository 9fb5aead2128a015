"""Settings of the detectors that find an object by a point of it: CenterNet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sodkit.settings.base import Backbone, BoxKind, Count, Settings

Inner = Annotated[float, Field(gt=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]


class CenterNet(Settings):
    """CenterNet (Zhou et al., Objects as Points, 2019) as the SODA-D benchmark sets it."""

    kind: Literal["centernet"] = "centernet"
    backbone: Backbone = Backbone(frozen_stages=0, norm="batch")
    channels: Count = Field(
        256, description="of the map of stride 4; the two before it have 4 and 2 times as many"
    )
    hidden: Count = Field(64, description="of the convolution before each output")
    overlap: Inner = Field(
        0.3,
        description="IoU with an object that boxes about the cells near its centre have; the "
        "heat map is damped there (paper's code: 0.7)",
    )
    prior: Inner = Field(0.1, description="score of every class at the start")
    size_weight: Weight = Field(0.1, description="of the loss of width and height")
    offset_weight: Weight = 1.0

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "horizontal"
