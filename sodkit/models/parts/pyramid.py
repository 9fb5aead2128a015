"""The feature pyramid: lateral connections, nearest upsampling, and further, coarser levels.

``Fpn`` makes the coarser levels by subsampling (two-stage detectors), ``StridedFpn`` by strided
convolutions (dense detectors).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Fpn(nn.Module):
    """FPN without activation (Lin et al., CVPR 2017).

    Args:
        inputs: channels of the backbone's maps, the finest first.
        channels: of the output.
        extra: further levels, by subsampling the coarsest one.
        groups: of a group norm after each convolution, which then has no bias; None: no norm.
    """

    def __init__(
        self, inputs: Sequence[int], channels: int, extra: int = 0, *, groups: int | None = None
    ) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_layer(c, channels, 1, groups=groups) for c in inputs)
        self.output = nn.ModuleList(_layer(channels, channels, 3, groups=groups) for _ in inputs)
        self._extra = extra
        for module in self.modules():
            _init(module)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Turn the backbone's maps into levels, each (B, channels, H_l, W_l).

        Without gradients the list is empty afterwards.
        """
        merged = _each(self.lateral, features)
        for level in range(len(merged) - 1, 0, -1):
            _add_upsampled(merged[level - 1], merged[level])
        outputs = _each(self.output, merged)
        for _ in range(self._extra):
            outputs.append(F.max_pool2d(outputs[-1], 1, 2))
        return outputs


def coarsest_first(maps: list[Tensor]) -> Iterator[Tensor]:
    """Yield the maps of a list from the last one to the first.

    Without gradients each is taken out of the list, so that its memory is free as soon as its
    reader is done: the finest map, the largest one, then has no other beside it.
    """
    if torch.is_grad_enabled():
        yield from reversed(maps)
        return
    while maps:
        yield maps.pop()


class StridedFpn(Fpn):
    """FPN with coarser levels by 3x3 convolutions of stride 2, one after the other.

    Args:
        inputs: channels of the backbone's maps, the finest first: C3..C5 give P3..P5.
        channels: of the output.
        coarser: number of these levels: P6, P7.
        source: what the first of them is made of, "input": the coarsest map of the backbone, C5
            (RetinaNet); "output": the coarsest output, P5 (FCOS, ATSS).
        relu: ReLU before each but the first of them (FCOS).
        groups: of the group norms, also of the coarser levels, see ``Fpn``.
    """

    def __init__(
        self, inputs: Sequence[int], channels: int, coarser: int,
        source: Literal["input", "output"], *, relu: bool = False, groups: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(inputs, channels, groups=groups)
        first = inputs[-1] if source == "input" else channels
        widths = [first, *[channels] * (coarser - 1)][:coarser]
        self.coarser = nn.ModuleList(
            _layer(width, channels, 3, stride=2, groups=groups) for width in widths
        )
        self._source, self._relu = source, relu
        for module in self.coarser.modules():
            _init(module)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Turn the backbone's maps into levels, see ``Fpn``."""
        coarsest = features[-1]
        levels = super().forward(features)
        below = coarsest if self._source == "input" else levels[-1]
        for number, conv in enumerate(self.coarser):
            below = conv(F.relu(below) if self._relu and number else below)
            levels.append(below)
        return levels


def _layer(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int | None
) -> nn.Module:
    """Return a convolution that keeps the map's size but for the stride, with its norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=groups is None)
    return conv if groups is None else nn.Sequential(conv, nn.GroupNorm(groups, outputs))


def _each(layers: nn.ModuleList, maps: list[Tensor]) -> list[Tensor]:
    """Return what each layer makes of its map; see ``coarsest_first``."""
    pairs = zip(reversed(layers), coarsest_first(maps), strict=True)
    return [layer(one) for layer, one in pairs][::-1]


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _add_upsampled(below: Tensor, above: Tensor) -> None:
    """Add the level above, nearest neighbours, to the one below, in place."""
    height, width = above.shape[-2:]
    if torch.is_grad_enabled() or below.shape[-2:] != (2 * height, 2 * width):
        below += F.interpolate(above, size=below.shape[-2:], mode="nearest")
        return
    # without the enlarged copy, which is as large as the finest level
    cells = below.view(*below.shape[:2], height, 2, width, 2)
    cells += above[:, :, :, None, :, None]
