"""CenterNet's own layers: from C5 to a map of stride 4, and its three outputs.

Zhou et al., Objects as Points, 2019, Figure 6 b, with plain convolutions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class CenterOutput:
    """Maps of stride 4, float32.

    Attributes:
        logits: (B, classes, H, W) of the heat map.
        size: (B, 2, H, W) width and height of the box about a cell, in cells.
        offset: (B, 2, H, W) from a cell's top left corner to the middle of the box, in cells.
    """

    logits: Tensor
    size: Tensor
    offset: Tensor


class DeconvNeck(nn.Sequential):
    """Three times a convolution and a transposed one that doubles the sides, with batch norm.

    Args:
        inputs: channels of C5.
        channels: of the last map; the two before have 4 and 2 times as many.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        widths = (inputs, 4 * channels, 2 * channels, channels)
        layers: list[nn.Module] = []
        for before, width in pairwise(widths):
            layers.append(_normed(nn.Conv2d(before, width, 3, padding=1, bias=False)))
            layers.append(
                _normed(nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False))
            )
        super().__init__(*layers)


def _normed(conv: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True))


class CenterHead(nn.Module):
    """Heat map, size and offset, each by two convolutions.

    Args:
        channels: of the map.
        hidden: channels between the two.
        classes: number of classes.
        prior: score of every class at the start.
    """

    def __init__(self, channels: int, hidden: int, classes: int, prior: float) -> None:
        super().__init__()
        self.heatmap = _branch(channels, hidden, classes)
        self.size = _branch(channels, hidden, 2)
        self.offset = _branch(channels, hidden, 2)
        self._reset(prior)

    def _reset(self, prior: float) -> None:
        """Draw the initial weights (mmdetection)."""
        for branch in (self.size, self.offset):
            for conv in branch:
                if isinstance(conv, nn.Conv2d):
                    nn.init.normal_(conv.weight, std=0.001)
                    nn.init.constant_(_bias(conv), 0)
        nn.init.constant_(_bias(self.heatmap[2]), -math.log((1 - prior) / prior))

    def forward(self, x: Tensor) -> CenterOutput:
        """Return the maps of a map (B, C, H, W)."""
        return CenterOutput(self.heatmap(x).float(), self.size(x).float(), self.offset(x).float())


def _branch(channels: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, outputs, 1),
    )


def _bias(conv: nn.Module) -> Tensor:
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    return conv.bias
