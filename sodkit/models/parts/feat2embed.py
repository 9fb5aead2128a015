"""Feat2Embed (paper 3.2): RoI features as embeddings of length 1."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.models.kernels.rows import by_rows


class Feat2Embed(nn.Module):
    """RoI feature -> embedding: three valid 3x3 convolutions, two FCs, a projection (Eq. 4)."""

    def __init__(self, channels: int, hidden: int = 512, embedding: int = 128) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, bias=False) for _ in range(3))
        self.norms = nn.ModuleList(nn.GroupNorm(_groups(channels), channels) for _ in range(3))
        self.fc_enc = nn.ModuleList([nn.Linear(channels, hidden), nn.Linear(hidden, hidden)])
        self.fc_proj = nn.Linear(hidden, embedding)
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        for fc in (*self.fc_enc, self.fc_proj):
            nn.init.normal_(fc.weight, std=0.01)
            nn.init.zeros_(fc.bias)

    def compress(self, features: Tensor) -> Tensor:
        """Turn RoI features (N, C, 7, 7) into (N, C) float32."""
        if len(features) == 0:
            return features.new_zeros(features.shape[:2])
        x = features
        for conv, norm in zip(self.convs, self.norms, strict=True):
            assert isinstance(norm, nn.GroupNorm)
            x = _norm(by_rows(conv, x), norm)
        return x.flatten(1)

    def embed(self, compressed: Tensor) -> Tensor:
        """Turn (..., C) into embeddings (..., 128) of length 1, float32."""
        x = compressed.flatten(0, -2)
        for fc in self.fc_enc:
            x = F.relu(by_rows(fc, x))
        x = by_rows(self.fc_proj, x).float()
        return F.normalize(x, dim=-1).reshape(*compressed.shape[:-1], x.shape[-1])


def _norm(x: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Normalise in float32, under autocast too."""
    return F.group_norm(x.float(), norm.num_groups, norm.weight, norm.bias, norm.eps)


def _groups(channels: int) -> int:
    """Return the number of groups of the norm: 32 of 8 channels (release), fewer if narrow."""
    return math.gcd(32, max(1, channels // 8), channels)
