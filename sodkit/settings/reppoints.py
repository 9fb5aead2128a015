"""Settings of RepPoints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sodkit.settings.base import Count, Positive, Share, Switch
from sodkit.settings.dense import DenseMatching, DenseParts


class BoxMatching(DenseMatching):
    """Max-IoU assignment of the boxes of the initial points."""

    claim_apart: Switch = Field(
        False, description="an object that no box overlaps makes every box positive, as in the "
        "benchmark's training; else it gets none",
    )  # fmt: skip


class RepPoints(DenseParts):
    """RepPoints (Yang et al., ICCV 2019), boxes by moments, as the SODA-D benchmark sets it."""

    kind: Literal["reppoints"] = "reppoints"
    convs: Count = Field(3, description="convolutions of each tower")
    level_scale: Positive = Field(
        4.0, description="an object is learnt on the level whose stride is its mean side, divided "
        "by this, rounded down to a power of two",
    )  # fmt: skip
    offset_gradient: Share = Field(
        0.1, description="share of the gradient that the initial points get as offsets"
    )
    moment_gradient: Share = Field(
        0.01, description="share of the gradient that the factors of the moments get"
    )
    matching: BoxMatching = BoxMatching()
    loss_scale: Positive = Field(2.0, description="strides that are 1 in the losses of boxes")
    beta: Positive = Field(0.11, description="where smooth L1 turns from a square to a line")
    init_weight: float = 0.5
    refine_weight: float = 1.0
