"""The active rotating filter: each filter is applied in eight turns (Zhou et al., CVPR 2017).

What it finds in one direction it finds in all, with the direction as a channel::

    1 2 3      4 1 2      7 4 1
    4 5 6  ->  7 5 3  ->  8 5 2  -> ...     a turn: 45 degrees clockwise, one step along the ring
    7 8 9      8 9 6      9 6 3
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.models.kernels.kept import Kept

TURNS = 8
RING = (0, 1, 2, 5, 8, 7, 6, 3)
"""Places of a 3x3 filter around its middle, clockwise, numbered row by row."""


class RotatingConv(nn.Module):
    """3x3 convolution whose filters are turned in steps of 45 degrees.

    Args:
        inputs: channels of the features.
        outputs: channels of the result, ``TURNS`` for each filter.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs // TURNS, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.sources = Kept(turned_places)
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, H, W) of features (B, inputs, H, W): filter by filter, all turns."""
        return F.conv2d(features, self.filters(), self.bias, padding=1)

    def filters(self) -> Tensor:
        """Return the plain filters (outputs, inputs, 3, 3)."""
        sources = self.sources(self.weight.device)
        turned = self.weight.flatten(2)[:, :, sources]  # (filters, inputs, TURNS, 9)
        return turned.transpose(1, 2).reshape(-1, self.weight.shape[1], 3, 3)


def turned_places(device: torch.device | None = None) -> Tensor:
    """Return (TURNS, 9) int64: the place whose weight comes to each place of a turned filter."""
    found = [list(range(9)) for _ in range(TURNS)]
    for turn, row in enumerate(found):
        for step, place in enumerate(RING):
            row[place] = RING[step - turn]
    return torch.tensor(found).to(device, non_blocking=True)


def strongest_turn(features: Tensor) -> Tensor:
    """Return (B, C / TURNS, H, W): the greatest of all turns, whatever the object's direction.

    Args:
        features: (B, C, H, W) of a ``RotatingConv``.
    """
    count, _, height, width = features.shape
    return features.reshape(count, -1, TURNS, height, width).amax(2)
