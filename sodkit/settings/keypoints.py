"""Settings of the detectors that find an object by points of it: CenterNet, CornerNet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from sodkit.settings.base import Backbone, BoxKind, Count, Positive, Settings, Switch

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


class CornerNet(Settings):
    """CornerNet (Law and Deng, ECCV 2018), Hourglass-104, as the SODA-D benchmark sets it."""

    kind: Literal["cornernet"] = "cornernet"
    widths: Annotated[
        # half of the first are the stem's channels: with less than 16, oneDNN's gradient of the
        # strided 1x1 convolution after it writes beyond its memory (AVX-512, torch 2.14)
        tuple[Annotated[int, Field(ge=32, le=1_000_000)], ...], Field(min_length=2, max_length=8)
    ] = Field(
        (256, 256, 384, 384, 384, 512),
        description="channels of an hourglass from the map of stride 4 on, each with half the rows "
        "and columns of the one before",
    )
    blocks: tuple[Count, ...] = Field(
        (2, 2, 2, 2, 2, 4), description="residual blocks on each of these maps"
    )
    stacks: Count = Field(2, description="hourglasses one after the other; all are trained")
    channels: Count = Field(256, description="of the features that corners are found in")
    pooled: Count = Field(128, description="channels that are pooled along rows and columns")
    hidden: Count = Field(256, description="of the convolution before each output")
    overlap: Inner = Field(
        0.3,
        description="IoU with an object that boxes with corners near its own have; the heat map "
        "is damped there",
    )
    prior: Inner = Field(0.1, description="score of every class at the start")
    offset_weight: Weight = 1.0
    pair_weight: Weight = Field(
        0.2,
        description="of the losses of embeddings, means over images (the benchmark: 0.1 of their "
        "sum over two)",
    )
    corners: Count = Field(100, description="of each kind that pairs are made of")
    apart: Positive = Field(0.5, description="embeddings of a pair differ by so much at most")
    pairs: Count = Field(1000, description="boxes of an image before NMS")
    sigma: Positive = Field(0.5, description="of soft NMS: the greater, the more boxes are kept")
    mirror: Switch = Field(True, description="find corners in the mirror image, too")

    @field_validator("blocks")
    @classmethod
    def _as_many(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        widths = info.data.get("widths", value)
        if len(value) != len(widths):
            raise ValueError(f"{len(widths)} widths need as many numbers of blocks")
        return value

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "horizontal"
