"""A stage of Sparse R-CNN: proposals look at each other, then each at its RoI by its own filters.

Sun et al., CVPR 2021, Figure 4: the filters of a proposal are made of its features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.models.parts import coders
from sodkit.models.parts.hungarian import Predicted
from sodkit.settings.queries import SparseRcnn


@dataclass(frozen=True, slots=True, eq=False)
class Refined(Predicted):
    """What a stage makes of the proposals.

    Attributes:
        features: (B, Q, C) of the proposals, for the next stage.
        deltas: (B, Q, 4) float32, from the stage's proposals to ``boxes``.
    """

    features: Tensor
    deltas: Tensor


class DynamicConv(nn.Module):
    """Two 1x1 convolutions of RoI features, whose filters a linear layer makes for each proposal.

    Args:
        channels: of RoIs and proposals.
        dynamic: channels between the two.
        pool: rows and columns of RoI features.
    """

    def __init__(self, channels: int, dynamic: int, pool: int) -> None:
        super().__init__()
        self.dynamic = dynamic
        self.filters = nn.Linear(channels, 2 * channels * dynamic)
        self.norm_in = nn.LayerNorm(dynamic)
        self.norm_out = nn.LayerNorm(channels)
        self.fc = nn.Linear(channels * pool**2, channels)
        self.fc_norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """Return (N, C) of proposals (N, C) and their RoI features (N, C, pool, pool)."""
        first, second = self.filters(features).chunk(2, 1)
        cells = rois.flatten(2).transpose(1, 2)
        cells = cells @ first.unflatten(1, (-1, self.dynamic))
        cells = F.relu(self.norm_in(cells))
        cells = cells @ second.unflatten(1, (self.dynamic, -1))
        cells = F.relu(self.norm_out(cells))
        return F.relu(self.fc_norm(self.fc(cells.flatten(1))))


class DynamicStage(nn.Module):
    """Self-attention, dynamic convolution, feed-forward network; then classes and boxes.

    Args:
        config: sizes.
        classes: number of classes.
    """

    def __init__(self, config: SparseRcnn, classes: int) -> None:
        super().__init__()
        width = config.channels
        self.stds = config.stds
        self.attention = nn.MultiheadAttention(width, config.attention_heads, batch_first=True)
        self.attention_norm = nn.LayerNorm(width)
        self.dynamic = DynamicConv(width, config.dynamic, config.pool)
        self.dynamic_norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(
            nn.Linear(width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, width)
        )
        self.ffn_norm = nn.LayerNorm(width)
        self.cls_tower = _tower(width, config.cls_layers)
        self.reg_tower = _tower(width, config.reg_layers)
        self.cls = nn.Linear(width, classes)
        self.reg = nn.Linear(width, 4)
        self._reset(config.loss.focal.prior)

    def _reset(self, prior: float) -> None:
        """Draw the initial weights; ``prior`` is the score of every class at the start."""
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        nn.init.constant_(self.cls.bias, -math.log((1 - prior) / prior))

    def forward(self, features: Tensor, rois: Tensor, boxes: Tensor) -> Refined:
        """Classify and move proposals.

        Args:
            features: (B, Q, C) of the proposals.
            rois: (B * Q, C, pool, pool) RoI features.
            boxes: (B, Q, 4) xyxy.
        """
        x = self.attend(features)
        x = self.interact(x, rois)
        x = self.ffn_norm(x + self.ffn(x))
        cls, reg = self.cls_tower(x).float(), self.reg_tower(x).float()
        with torch.autocast(x.device.type, enabled=False):
            logits, deltas = self.cls(cls), self.reg(reg)
        return Refined(logits, coders.decode(boxes, deltas, self.stds), x, deltas)

    def attend(self, features: Tensor) -> Tensor:
        """Return (B, Q, C): every proposal with what it takes from the others of its image."""
        seen, _ = self.attention(features, features, features, need_weights=False)
        attended: Tensor = self.attention_norm(features + seen)
        return attended

    def interact(self, features: Tensor, rois: Tensor) -> Tensor:
        """Return (B, Q, C): every proposal with what its filters find in its RoI."""
        found = self.dynamic(features.flatten(0, 1), rois).reshape(features.shape)
        interacted: Tensor = self.dynamic_norm(features + found)
        return interacted


def _tower(width: int, layers: int) -> nn.Sequential:
    """Return linear layers without bias, each with layer norm and ReLU."""
    one = (
        (nn.Linear(width, width, bias=False), nn.LayerNorm(width), nn.ReLU()) for _ in range(layers)
    )
    return nn.Sequential(*(layer for group in one for layer in group))
