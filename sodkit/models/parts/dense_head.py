"""The head of one-stage detectors: two towers of convolutions, shared by all levels.

``DenseHead`` is RetinaNet's, FCOS' and ATSS' head by its arguments; ``tower`` serves heads of
another make.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sodkit.models.parts.selection import by_location


@dataclass(frozen=True, slots=True, eq=False)
class DenseOutput:
    """The head's output for every anchor or point; lists hold one tensor a level.

    Attributes:
        logits: (B, A_l, classes), in the order of rows, columns, anchors.
        deltas: (B, A_l, 4), of oriented boxes (B, A_l, 5).
        centerness: (B, A_l) logits; None if the head has none.
    """

    logits: list[Tensor]
    deltas: list[Tensor]
    centerness: list[Tensor] | None = None


class DenseHead(nn.Module):
    """Class scores and deltas of the anchors (or the point) at each location.

    Args:
        channels: of the pyramid and the towers.
        convs: convolutions of each tower.
        anchors: of a location.
        classes: outputs a class; there is no background.
        prior: score of every class at the start: low, as most anchors are negative.
        groups: of the group norm after each convolution of the towers; None: no norm.
        bias: the towers' convolutions have one.
        centerness: one more output an anchor, on the tower of the deltas.
        scales: number of levels, each with a learnt factor on its deltas; 0: no factors.
        columns: numbers regressed for each anchor.
    """

    def __init__(
        self, channels: int, convs: int, anchors: int, classes: int, prior: float, *,
        groups: int | None = None, bias: bool = True, centerness: bool = False, scales: int = 0,
        columns: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        self.classes, self.columns = classes, columns
        self.cls_tower, self.reg_tower = (
            tower(channels, convs, groups=groups, bias=bias) for _ in range(2)
        )
        self.cls = nn.Conv2d(channels, anchors * classes, 3, padding=1)
        self.reg = nn.Conv2d(channels, anchors * columns, 3, padding=1)
        self.centerness = nn.Conv2d(channels, anchors, 3, padding=1) if centerness else None
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(())) for _ in range(scales))
        init_dense(self, self.cls, prior)

    def forward(self, pyramid: Sequence[Tensor]) -> DenseOutput:
        """Score and regress the anchors of levels (B, C, H_l, W_l)."""
        logits, deltas, centerness = [], [], []
        for level, feature in enumerate(pyramid):
            logits.append(by_location(self.cls(self.cls_tower(feature)), self.classes))
            regressed = self.reg_tower(feature)
            deltas.append(self._deltas(regressed, level))
            if self.centerness is not None:
                centerness.append(by_location(self.centerness(regressed), 1)[..., 0])
        return DenseOutput(logits, deltas, centerness or None)

    def regress(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the deltas alone, where the scores are not used."""
        return [self._deltas(self.reg_tower(each), level) for level, each in enumerate(pyramid)]

    def _deltas(self, regressed: Tensor, level: int) -> Tensor:
        delta = by_location(self.reg(regressed), self.columns)
        return delta * self.scales[level] if len(self.scales) else delta


def tower(
    channels: int, convs: int, *, groups: int | None = None, bias: bool = True,
    inputs: int | None = None,
) -> nn.Sequential:  # fmt: skip
    """Return 3x3 convolutions, each followed by group norm (None: not) and ReLU.

    The first has ``inputs`` channels, None: as many as the others.
    """
    layers: list[nn.Module] = []
    for width in [inputs or channels, *[channels] * (convs - 1)][:convs]:
        layers.append(nn.Conv2d(width, channels, 3, padding=1, bias=bias))
        if groups is not None:
            layers.append(nn.GroupNorm(groups, channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def init_dense(head: nn.Module, cls: nn.Conv2d, prior: float) -> None:
    """Initialise a head: Normal(0.01), biases 0; ``cls`` gives every class the score ``prior``.

    Lin et al., ICCV 2017, 4.1.
    """
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    assert cls.bias is not None
    nn.init.constant_(cls.bias, -math.log((1 - prior) / prior))
