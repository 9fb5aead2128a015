"""RoI features for classification, aligned twice: bins that move, cells weighed by importance.

Cheng et al., "Dual-Aligned Oriented Detector" (TGRS 2022): deformable RoI pooling (Dai et al., ICCV
2017, 2.2) in the frame of an oriented box, then local importance pooling (Gao et al., ICCV 2019).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.models.kernels import rotated_pool
from sodkit.models.kernels.rows import by_rows

COARSE = 3
"""Bins a side of the features that the moves are made of."""
MOVE = 0.1
"""Parts of the box's sides that an output of 1 moves a bin by (release)."""
SHARPNESS = 12.0
"""An importance is between 1 and exp of this (Gao et al., 3.3)."""


class DeformedPool(nn.Module):
    """Pools oriented boxes of one level of the pyramid; at the start bins do not move.

    Args:
        channels: of the pyramid.
        size: rows and columns of the result.
        hidden: features between the coarse ones and the moves.
    """

    def __init__(self, channels: int, size: int, hidden: int) -> None:
        super().__init__()
        self.size = size
        moves = nn.Linear(hidden, 2 * size * size)
        nn.init.zeros_(moves.weight)
        nn.init.zeros_(moves.bias)
        self.moves = nn.Sequential(
            nn.Linear(channels * COARSE**2, hidden), nn.ReLU(), nn.Linear(hidden, hidden),
            nn.ReLU(), moves,
        )  # fmt: skip
        self.importance = ImportancePool(channels)

    def forward(self, feature: Tensor, boxes: Tensor, image: Tensor) -> Tensor:
        """Return (N, C, size, size) float32.

        Args:
            feature: (B, C, H, W) of one level.
            boxes: (N, 5) in cells; no gradient.
            image: (N,) int64 index of each box's image in the batch.
        """
        coarse = rotated_pool.align(feature, boxes, image, COARSE)
        moves = by_rows(self.moves, coarse.flatten(1)).float() * MOVE
        moves = moves.reshape(-1, 2, self.size, self.size)
        # each bin of the result is made of 2 x 2 bins, which move together
        moves = moves.repeat_interleave(2, 2).repeat_interleave(2, 3).permute(0, 2, 3, 1)
        fine = rotated_pool.align(feature, boxes, image, 2 * self.size, moves)
        result: Tensor = self.importance(fine)
        return result


class ImportancePool(nn.Module):
    """Halves maps by means of 3 x 3 cells that count as much as a convolution says.

    At the start all count alike.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.conv.weight)
        self.norm = MapNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Turn (N, C, 2 S, 2 S) into (N, C, S, S) float32."""
        logits = self.norm(by_rows(self.conv, x)).float()
        weight = (SHARPNESS * logits.sigmoid()).exp()
        return F.avg_pool2d(x.float() * weight, 3, 2, 1) / F.avg_pool2d(weight, 3, 2, 1)


class MapNorm(nn.GroupNorm):
    """Group norm with a group a channel, which is instance norm, but takes no RoIs as well.

    PyTorch's takes ten times as long for small bfloat16 maps whose channels lie side by side.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each map of (N, C, H, W) by itself."""
        if len(x) == 0:
            return super().forward(x)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
