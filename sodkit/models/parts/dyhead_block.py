"""The dynamic head block: attention over levels, places and channels (Dai et al., CVPR 2021).

::

    level l - 1 --> deformable conv, stride 2 -------------.
    level l ------> deformable conv -----------------------+-> mean --> dynamic ReLU --> level l
    level l + 1 --> deformable conv --> twice as large ----'
                    at places of level l    each times its scale attention

The deformable convolutions are the spatial attention, the weights of their outputs that of scale,
the dynamic ReLU that of the task.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.models.kernels.deformable_conv import DeformableConv
from sodkit.models.kernels.tap_conv import TAPS

_REDUCTION = 4
"""The hidden channels of the dynamic ReLU are the channels divided by this."""


class DyHeadBlock(nn.Module):
    """One block, from levels to levels of the same shapes; all levels share its weights.

    Args:
        channels: of the pyramid.
        groups: of the group norms.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.offset = nn.Conv2d(channels, 3 * TAPS, 3, padding=1)
        self.high = _NormedConv(channels, groups)
        self.mid = _NormedConv(channels, groups)
        self.low = _NormedConv(channels, groups, stride=2)
        self.scale = nn.Conv2d(channels, 1, 1)
        self.task = DynamicRelu(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        # at the start the taps are those of a plain convolution, all weighted by one half
        nn.init.zeros_(self.offset.weight)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Turn levels (B, C, H_l, W_l), each half as large as the one before, into new ones."""
        return [self._level(levels, number) for number in range(len(levels))]

    def _level(self, levels: Sequence[Tensor], number: int) -> Tensor:
        x = levels[number]
        offsets, mask = self.offset(x).split([2 * TAPS, TAPS], 1)
        mask = mask.sigmoid()
        terms = [self.mid(x, offsets, mask)]
        if number > 0:
            terms.append(self.low(levels[number - 1], offsets, mask))
        if number + 1 < len(levels):
            high = levels[number + 1]
            shape = (high.shape[-2], high.shape[-1])
            moved = self.high(high, _first_values(offsets, shape), _first_values(mask, shape))
            size = (x.shape[-2], x.shape[-1])
            terms.append(F.interpolate(moved, size, mode="bilinear", align_corners=True))
        weighted = [term * self._scale_attention(term) for term in terms]
        result: Tensor = self.task(sum(weighted[1:], weighted[0]) / len(terms))
        return result

    def _scale_attention(self, x: Tensor) -> Tensor:
        """Return a weight in [.5, 1] for each image (B, 1, 1, 1) (Eq. 3)."""
        return F.hardsigmoid(F.relu(self.scale(x.mean((2, 3), keepdim=True))))


class DynamicRelu(nn.Module):
    """max(a1 x + b1, a2 x + b2), with coefficients that the image decides for each channel.

    Chen et al., ECCV 2020; the task attention, Eq. 5.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // _REDUCTION)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, 4 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W)."""
        hidden = F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))
        coefficients = F.hardsigmoid(self.excite(hidden)) - 0.5
        a1, b1, a2, b2 = coefficients.chunk(4, 1)
        # all 0 would be ReLU: a1 = 1, b1 = a2 = b2 = 0
        return torch.maximum(x * (2 * a1 + 1) + b1, x * (2 * a2) + b2)


class _NormedConv(nn.Module):
    """A deformable convolution with masks, followed by group norm."""

    def __init__(self, channels: int, groups: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = DeformableConv(channels, channels, stride)
        self.norm = nn.GroupNorm(groups, channels)
        limit = (TAPS * channels) ** -0.5
        nn.init.uniform_(self.conv.weight, -limit, limit)

    def forward(self, x: Tensor, offsets: Tensor, mask: Tensor) -> Tensor:
        """Return (B, C, h, w), of the size of ``offsets``."""
        result: Tensor = self.norm(self.conv(x, offsets, mask))
        return result


def _first_values(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the first values of x (B, C, H, W), in memory's order, as (B, C, h, w).

    The branch of the coarser level gets the offsets and masks of the finer one in this way: the
    authors' operator does not compare sizes and reads the larger tensor as if it had the smaller
    size. So it reads about the first quarter of the channels, its rows folded. That has no meaning,
    but published weights are trained with it.
    """
    batch, channels = x.shape[:2]
    count = channels * shape[0] * shape[1]
    return x.flatten(1)[:, :count].reshape(batch, channels, *shape)
