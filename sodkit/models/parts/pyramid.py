"""The feature pyramid: lateral connections, nearest upsampling, further levels by pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Fpn(nn.Module):
    """FPN without norm or activation (Lin et al., CVPR 2017).

    Args:
        inputs: channels of the backbone's maps, the finest first.
        channels: of the output.
        extra: further levels, by subsampling the coarsest one.
    """

    def __init__(self, inputs: Sequence[int], channels: int, extra: int = 0) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in inputs)
        self.output = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in inputs)
        self._extra = extra
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Turn the backbone's maps into levels, each (B, channels, H_l, W_l)."""
        merged = [lateral(f) for lateral, f in zip(self.lateral, features, strict=True)]
        for level in range(len(merged) - 1, 0, -1):
            _add_upsampled(merged[level - 1], merged[level])
        outputs = [conv(f) for conv, f in zip(self.output, merged, strict=True)]
        for _ in range(self._extra):
            outputs.append(F.max_pool2d(outputs[-1], 1, 2))
        return outputs


def _add_upsampled(below: Tensor, above: Tensor) -> None:
    """Add the level above, nearest neighbours, to the one below, in place."""
    height, width = above.shape[-2:]
    if torch.is_grad_enabled() or below.shape[-2:] != (2 * height, 2 * width):
        below += F.interpolate(above, size=below.shape[-2:], mode="nearest")
        return
    # without the enlarged copy, which is as large as the finest level
    cells = below.view(*below.shape[:2], height, 2, width, 2)
    cells += above[:, :, :, None, :, None]
