"""CSPDarknet and its pyramid: the body of the YOLO detectors from version 4 on.

Wang et al., CSPNet, CVPR Workshops 2020: half of the channels go past the blocks of a stage.
Liu et al., PANet, CVPR 2018: a second way through the pyramid, from fine to coarse.
Ge et al., YOLOX, 2021, for how they are put together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (8, 16, 32)
"""Of C3..C5 and P3..P5, in px of the input."""

_POOLS = (5, 9, 13)


class ConvNorm(nn.Module):
    """A convolution that keeps the size (or divides it by the stride), batch norm and SiLU.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: rows and columns, odd.
        stride: of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        # torch draws these weights as the original does: uniform, by the inputs of a channel
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride)."""
        return F.silu(self.bn(self.conv(x)), inplace=True)


class Focus(ConvNorm):
    """The stem: squares of 2 x 2 pixels become channels, then a 3x3 convolution."""

    def __init__(self, outputs: int) -> None:
        super().__init__(12, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H / 2, W / 2) of images (B, 3, H, W); odd sides are padded by 0."""
        x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
        even, odd = x[..., ::2, :], x[..., 1::2, :]
        corners = (even[..., ::2], odd[..., ::2], even[..., 1::2], odd[..., 1::2])
        return super().forward(torch.cat(corners, 1))


class Bottleneck(nn.Module):
    """1x1 and 3x3 convolutions, and the input added if ``shortcut``."""

    def __init__(self, channels: int, *, shortcut: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = ConvNorm(channels, channels), ConvNorm(channels, channels, 3)
        self._shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        y: Tensor = self.conv2(self.conv1(x))
        return y + x if self._shortcut else y


class Csp(nn.Module):
    """Two halves of the channels: one goes through blocks, the other past them.

    Args:
        inputs: channels.
        outputs: channels; each half has half as many.
        blocks: how many.
        shortcut: the blocks add their input.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int, *, shortcut: bool = False) -> None:
        super().__init__()
        half = outputs // 2
        self.main, self.short = ConvNorm(inputs, half), ConvNorm(inputs, half)
        self.blocks = nn.Sequential(*(Bottleneck(half, shortcut=shortcut) for _ in range(blocks)))
        self.out = ConvNorm(2 * half, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W)."""
        result: Tensor = self.out(torch.cat([self.blocks(self.main(x)), self.short(x)], 1))
        return result


class Spp(nn.Module):
    """Spatial pyramid pooling (He et al., ECCV 2014): the greatest values around, near and far."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvNorm(channels, half)
        self.conv2 = ConvNorm(half * (1 + len(_POOLS)), channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        x = self.conv1(x)
        around = [F.max_pool2d(x, side, stride=1, padding=side // 2) for side in _POOLS]
        result: Tensor = self.conv2(torch.cat([x, *around], 1))
        return result


class CspDarknet(nn.Module):
    """Stem and four stages.

    Args:
        stem: channels of the stem; the stages have 2, 4, 8 and 16 times as many.
        blocks: number of blocks of each stage.

    Attributes:
        channels: of C3..C5.
    """

    def __init__(self, stem: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.stem = Focus(stem)
        self.stages = nn.ModuleList()
        width = stem
        for number, count in enumerate(blocks, 1):
            last = number == len(blocks)
            layers: list[nn.Module] = [ConvNorm(width, 2 * width, 3, 2)]
            if last:
                layers.append(Spp(2 * width))
            layers.append(Csp(2 * width, 2 * width, count, shortcut=not last))
            self.stages.append(nn.Sequential(*layers))
            width *= 2
        self.channels = [width // 4, width // 2, width]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return C3..C5 of images (B, 3, H, W)."""
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[-3:]


class PanFpn(nn.Module):
    """From coarse to fine, then from fine to coarse, through CSP layers.

    Args:
        inputs: channels of C3..C5.
        channels: of P3..P5.
        blocks: of each CSP layer.
    """

    def __init__(self, inputs: Sequence[int], channels: int, blocks: int) -> None:
        super().__init__()
        fine, middle, coarse = inputs
        self.reduce = nn.ModuleList([ConvNorm(coarse, middle), ConvNorm(middle, fine)])
        self.top_down = nn.ModuleList(
            [Csp(2 * middle, middle, blocks), Csp(2 * fine, fine, blocks)]
        )
        self.down = nn.ModuleList([ConvNorm(fine, fine, 3, 2), ConvNorm(middle, middle, 3, 2)])
        self.bottom_up = nn.ModuleList(
            [Csp(2 * fine, middle, blocks), Csp(2 * middle, coarse, blocks)]
        )
        self.out = nn.ModuleList(ConvNorm(width, channels) for width in inputs)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return P3..P5 of C3..C5, each (B, channels, H_l, W_l)."""
        *finer, x = features
        reduced = []  # coarse first: what the way back joins, before it was merged
        for reduce, merge, lateral in zip(self.reduce, self.top_down, reversed(finer), strict=True):
            reduced.append(reduce(x))
            enlarged = F.interpolate(reduced[-1], size=lateral.shape[-2:], mode="nearest")
            x = merge(torch.cat([enlarged, lateral], 1))
        levels = [x]
        for down, merge, lateral in zip(self.down, self.bottom_up, reversed(reduced), strict=True):
            levels.append(merge(torch.cat([down(levels[-1]), lateral], 1)))
        return [conv(level) for conv, level in zip(self.out, levels, strict=True)]
