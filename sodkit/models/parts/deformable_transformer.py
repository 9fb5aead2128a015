"""Encoder and decoder of Deformable DETR: attention that reads a few places of each level.

Zhu et al., ICLR 2021, 4.1 and Figure 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.models.kernels.level_sampling import sample_levels
from sodkit.models.kernels.tap_conv import at_least_float32
from sodkit.models.parts.dropout import Drop
from sodkit.models.parts.tokens import Tokens
from sodkit.settings.queries import DeformableDetr

LEVELS = 4
"""C2..C5."""


class DeformableAttention(nn.Module):
    """Each query takes a weighted sum of samples about its reference point (Eq. 3).

    Args:
        channels: of queries and values.
        heads: they divide the channels.
        points: samples a head takes of each level.
    """

    def __init__(self, channels: int, heads: int, points: int) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.offsets = nn.Linear(channels, heads * LEVELS * points * 2)
        self.weights = nn.Linear(channels, heads * LEVELS * points)
        self.values = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)

    def reset(self) -> None:
        """Let the heads begin by looking 1, 2, ... cells away, each in a direction of its own."""
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().amax(1, keepdim=True)
        steps = torch.arange(1.0, self.points + 1)
        start = direction[:, None, None] * steps[:, None].expand(LEVELS, -1, -1)
        with torch.no_grad():
            self.offsets.bias.copy_(start.flatten())
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
        for layer in (self.weights, self.values, self.output):
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, seen: Tensor, tokens: Tokens, points: Tensor) -> Tensor:
        """Return what the queries find (B, Q, C).

        Args:
            queries: (B, Q, C).
            seen: (B, N, C) of the tokens.
            tokens: where they are; padding counts as 0.
            points: (B, Q, 2) (x, y) of the queries in parts of the image's sides.
        """
        values = self.values(seen).masked_fill(~tokens.inside[..., None], 0)
        kind = at_least_float32(queries)
        shape = (*queries.shape[:2], self.heads, LEVELS, self.points)
        offsets = self.offsets(queries).to(kind).reshape(*shape, 2)
        weights = self.weights(queries).to(kind).reshape(*shape[:3], -1).softmax(-1)
        # the sides of the image in cells of a level, not those of the level: padding is no place
        start = points[:, :, None].to(kind) * tokens.sides[:, None] - 0.5
        places = start[:, :, None, :, None] + offsets
        table = values.unflatten(2, (self.heads, -1))
        found = sample_levels(table, tokens.shapes, places, weights.reshape(shape))
        result: Tensor = self.output(found.flatten(2))
        return result


class SelfAttention(nn.Module):
    """Plain attention of the queries of an image to each other (Vaswani et al., 2017).

    Args:
        channels: of the queries.
        heads: they divide the channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(channels, 3 * channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor, place: Tensor, drop: Drop) -> Tensor:
        """Return (B, Q, C) of queries; ``place`` is added where they are compared, not elsewhere.

        Args:
            x: (B, Q, C).
            place: (B, Q, C), or what can be expanded to it.
            drop: dropout of the attention's weights.
        """
        width, weight, bias = x.shape[-1], self.inputs.weight, self.inputs.bias
        compared = F.linear(x + place, weight[: 2 * width], bias[: 2 * width])
        given = (*compared.chunk(2, -1), F.linear(x, weight[2 * width :], bias[2 * width :]))
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (one.reshape(shape).transpose(1, 2) for one in given)
        weights = drop((q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(-1))
        result: Tensor = self.output((weights.to(v.dtype) @ v).transpose(1, 2).flatten(2))
        return result


class FeedForward(nn.Module):
    """Two linear layers on each token, added to it, and layer norm."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, drop: Drop) -> Tensor:
        """Return (B, N, C) of tokens."""
        inner = drop(self.first(x).relu())
        result: Tensor = self.norm(x + drop(self.second(inner)))
        return result


class EncoderLayer(nn.Module):
    """Every cell looks at a few places of all levels about it."""

    def __init__(self, config: DeformableDetr) -> None:
        super().__init__()
        width = config.channels
        self.attention = DeformableAttention(width, config.attention_heads, config.points)
        self.attention_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, config.hidden)

    def forward(self, x: Tensor, place: Tensor, tokens: Tokens, drop: Drop) -> Tensor:
        """Return the tokens (B, N, C) after the layer.

        Args:
            x: (B, N, C).
            place: (B, N, C) code of the tokens' places and levels.
            tokens: where they are.
            drop: dropout.
        """
        found = self.attention(x + place, x, tokens, tokens.centre)
        result: Tensor = self.ffn(self.attention_norm(x + drop(found)), drop)
        return result


class DecoderLayer(nn.Module):
    """Queries look at each other, then at a few places of all levels about their point."""

    def __init__(self, config: DeformableDetr) -> None:
        super().__init__()
        width, heads = config.channels, config.attention_heads
        self.attention = SelfAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.cross = DeformableAttention(width, heads, config.points)
        self.cross_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, config.hidden)

    def forward(
        self, x: Tensor, place: Tensor, seen: Tensor, tokens: Tokens, points: Tensor, drop: Drop
    ) -> Tensor:
        """Return the queries (B, Q, C) after the layer.

        Args:
            x: (B, Q, C).
            place: (B, Q, C) code of the queries.
            seen: (B, N, C) the encoder's tokens.
            tokens: where they are.
            points: (B, Q, 2) reference points in parts of the image's sides.
            drop: dropout.
        """
        x = self.attention_norm(x + drop(self.attention(x, place, drop)))
        x = self.cross_norm(x + drop(self.cross(x + place, seen, tokens, points)))
        result: Tensor = self.ffn(x, drop)
        return result
