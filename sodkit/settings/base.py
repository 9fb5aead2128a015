"""What all settings share: strictness, and the types of numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _switch(value: object) -> object:
    """Turn the numbers 0 and 1 into booleans."""
    return bool(value) if type(value) is int and value in (0, 1) else value


Switch = Annotated[bool, BeforeValidator(_switch)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Endless = Annotated[float, Field(ge=0, allow_inf_nan=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Four = tuple[float, float, float, float]
Five = tuple[float, float, float, float, float]
BoxKind = Literal["horizontal", "oriented"]
Beyond = Annotated[
    Literal["drop", "keep", "clamp"],
    Field(
        description="oriented detections centred beyond the image: left out, kept, or their centre"
        " moved into its last pixel (mmrotate keeps or moves them)"
    ),
]


class Settings(BaseModel):
    """Base of all settings: unknown keys, wrong types, NaN and infinity are errors; frozen.

    Only ``Endless`` may be infinite, and is written as ``Infinity``.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, ser_json_inf_nan="constants"
    )


class TrainTest(Settings):
    """A number that differs between training and testing."""

    train: int
    test: int


class Backbone(Settings):
    """ResNet and its training state."""

    name: Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = Field(
        "resnet50", description="which ResNet"
    )
    weights: str | None = Field(
        "imagenet", description="'imagenet', a file of torchvision weights, or null: random"
    )
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = Field(
        2, description="0 none, 1 conv1 and bn1, 2 also layer1, ... 5 all (release: 2)"
    )
    norm: Literal["frozen", "fixed", "batch"] = Field(
        "frozen",
        description="frozen: stored statistics, trained affine; fixed: neither is trained; batch: "
        "ordinary batch norm",
    )
    stride_in: Literal["3x3", "1x1"] = Field(
        "3x3",
        description="convolution of a bottleneck that has the stride: 3x3 in torchvision's "
        "weights, the first 1x1 in caffe's; ResNet 18 and 34 have no bottlenecks",
    )


class IouMatching(Settings):
    """Max-IoU assignment of anchors."""

    positive: Share = 0.7
    negative: Share = 0.3
    low_quality: Share | None = Field(
        0.3, description="an object's best anchors are positive too, from this IoU on; null: not"
    )


class Sampling(Settings):
    """How many anchors or proposals of an image are trained on, drawn at random."""

    samples: Count = 256
    positive_share: Share = Field(0.5, description="at most so many of them are positive")
