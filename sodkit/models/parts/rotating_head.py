"""The second head of S2A-Net: boxes from features that know the direction, classes from others.

The oriented detection module of Han et al., "Align Deep Features for Oriented Object Detection",
TGRS 2022, III-C.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sodkit.models.kernels.rotating_conv import TURNS, RotatingConv, strongest_turn
from sodkit.models.parts.dense_head import DenseOutput, init_dense, tower
from sodkit.models.parts.selection import by_location


class RotatingHead(nn.Module):
    """Class scores and five deltas of the one anchor at each location.

    A box has a direction, so all turns of the rotating filters go into its tower; a class has none,
    so the other tower gets the strongest turn.

    Args:
        channels: of the features and the towers, a multiple of ``TURNS``.
        convs: convolutions of each tower.
        classes: outputs a class; there is no background.
        prior: score of every class at the start.
    """

    def __init__(self, channels: int, convs: int, classes: int, prior: float) -> None:
        super().__init__()
        self.rotating = RotatingConv(channels, channels)
        self.cls_tower = tower(channels, convs, inputs=channels // TURNS)
        self.reg_tower = tower(channels, convs)
        self.cls = nn.Conv2d(channels, classes, 3, padding=1)
        self.reg = nn.Conv2d(channels, 5, 3, padding=1)
        init_dense(self, self.cls, prior)

    def forward(self, levels: Sequence[Tensor]) -> DenseOutput:
        """Score and regress the anchors of levels (B, C, H_l, W_l)."""
        logits, deltas = [], []
        for feature in levels:
            turned = self.rotating(feature)
            scores = self.cls(self.cls_tower(strongest_turn(turned)))
            logits.append(by_location(scores, scores.shape[1]))
            deltas.append(by_location(self.reg(self.reg_tower(turned)), 5))
        return DenseOutput(logits, deltas)
