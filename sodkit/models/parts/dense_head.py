"""The head of one-stage detectors: two towers of convolutions, shared by all levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sodkit.models.parts.selection import by_location


@dataclass(frozen=True, slots=True, eq=False)
class DenseOutput:
    """The head's output for every anchor; lists hold one tensor a level.

    Attributes:
        logits: (B, A_l, classes), in the order of rows, columns, anchors.
        deltas: (B, A_l, 4).
    """

    logits: list[Tensor]
    deltas: list[Tensor]


class DenseHead(nn.Module):
    """Class scores and deltas of the anchors at each location.

    Args:
        channels: of the pyramid and the towers.
        convs: convolutions of each tower.
        anchors: of a location.
        classes: outputs a class; there is no background.
        prior: score of every class at the start: low, as most anchors are negative.
    """

    def __init__(self, channels: int, convs: int, anchors: int, classes: int, prior: float) -> None:
        super().__init__()
        self.classes = classes
        self.cls_tower, self.reg_tower = (_tower(channels, convs) for _ in range(2))
        self.cls = nn.Conv2d(channels, anchors * classes, 3, padding=1)
        self.reg = nn.Conv2d(channels, anchors * 4, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.cls.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]

    def forward(self, pyramid: Sequence[Tensor]) -> DenseOutput:
        """Score and regress the anchors of levels (B, C, H_l, W_l)."""
        logits, deltas = [], []
        for feature in pyramid:
            logits.append(by_location(self.cls(self.cls_tower(feature)), self.classes))
            deltas.append(by_location(self.reg(self.reg_tower(feature)), 4))
        return DenseOutput(logits, deltas)


def _tower(channels: int, convs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convs):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def best_pairs(logits: Tensor, score: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ``count`` best pairs of anchor and class of one level of an image.

    Args:
        logits: (A, classes).
        score: pairs with a greater score only.
        count: pairs kept.

    Returns:
        scores (N,) in [0, 1], anchors (N,) and classes (N,), best first.
    """
    scores = logits.float().sigmoid()
    anchor, label = torch.nonzero(scores > score, as_tuple=True)
    found, rows = scores[anchor, label].sort(descending=True, stable=True)
    rows = rows[:count]
    return found[:count], anchor[rows], label[rows]
