"""YOLOX's head: classes on one tower, box and objectness on another, for each level its own.

Ge et al., YOLOX, 2021, Figure 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sodkit.models.parts.csp import ConvNorm
from sodkit.models.parts.selection import by_location


@dataclass(frozen=True, slots=True, eq=False)
class CellOutput:
    """What the head gives for the N cells of all levels, the finest first, row by row; float32.

    Attributes:
        logits: (B, N, classes).
        objectness: (B, N) logits of a cell having an object.
        deltas: (B, N, 4): the centre from the cell's corner in strides, and the logarithm of width
            and height in strides.
    """

    logits: Tensor
    objectness: Tensor
    deltas: Tensor


class DecoupledHead(nn.Module):
    """Two towers and three outputs a level.

    Args:
        channels: of the pyramid and the towers.
        convs: 3x3 convolutions of each tower.
        classes: number of classes.
        levels: of the pyramid.
        prior: score of every class, and objectness, at the start.
    """

    def __init__(self, channels: int, convs: int, classes: int, levels: int, prior: float) -> None:
        super().__init__()
        self.cls_towers, self.box_towers = (
            nn.ModuleList(
                nn.Sequential(*(ConvNorm(channels, channels, 3) for _ in range(convs)))
                for _ in range(levels)
            )
            for _ in range(2)
        )
        self.cls, self.box, self.objectness = (
            nn.ModuleList(nn.Conv2d(channels, outputs, 1) for _ in range(levels))
            for outputs in (classes, 4, 1)
        )
        for output in (*self.cls, *self.objectness):
            nn.init.constant_(output.bias, -math.log((1 - prior) / prior))

    def forward(self, pyramid: Sequence[Tensor]) -> CellOutput:
        """Return the outputs of levels (B, channels, H_l, W_l)."""
        parts = []
        for level, x in enumerate(pyramid):
            box = self.box_towers[level](x)
            maps = (
                self.cls[level](self.cls_towers[level](x)),
                self.objectness[level](box),
                self.box[level](box),
            )
            parts.append([by_location(each, each.shape[1]).float() for each in maps])
        logits, objectness, deltas = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        return CellOutput(logits, objectness[..., 0], deltas)
