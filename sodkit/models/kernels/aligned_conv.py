"""The aligned convolution: a 3x3 convolution whose taps lie in an oriented box (S2A-Net).

::

    o-----o-----o       taps are a third of the box's sides apart, along its own axes:
    |  .  .  .  |       those of a box of 3 x 3 cells that is upright are a plain convolution's
    |  .  +  .  |
    |  .  .  .  |
    o-----o-----o
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sodkit.models.kernels.deformable_conv import DeformableConv


class AlignedConv(nn.Module):
    """3x3 convolution without bias that samples in the oriented boxes of its locations.

    Args:
        channels: of the features and of the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = DeformableConv(channels, channels)

    def forward(self, features: Tensor, boxes: Tensor, stride: int) -> Tensor:
        """Convolve a feature map.

        Args:
            features: (B, C, H, W) one level of the pyramid.
            boxes: (B, H * W, 5) oriented, px, one for each location, row by row; no gradient.
            stride: of the level, px.

        Returns:
            (B, C, H, W) in the type of ``features``.
        """
        height, width = features.shape[-2:]
        result: Tensor = self.conv(features, aligned_offsets(boxes, stride, (height, width)))
        return result


def aligned_offsets(boxes: Tensor, stride: int, shape: tuple[int, int]) -> Tensor:
    """Return how far the taps lie from those of a plain convolution (Han et al., TGRS 2022, Eq. 4).

    Args:
        boxes: (B, H * W, 5) oriented, px.
        stride: of the level, px: location (row, column) is at (column * stride, row * stride).
        shape: (H, W).

    Returns:
        (B, 18, H, W): (dy, dx) in cells for the taps row by row; no gradient.
    """
    height, width = shape
    x, y, w, h, angle = boxes.detach().float()[..., None].unbind(2)  # (B, H * W, 1) each
    step = torch.arange(-1.0, 2.0, device=boxes.device)
    down, right = (each.flatten() for each in torch.meshgrid(step, step, indexing="ij"))
    along, across = right * (w / (3 * stride)), down * (h / (3 * stride))
    cos, sin = angle.cos(), angle.sin()
    number = torch.arange(height * width, device=boxes.device)[:, None]
    row, column = number.div(width, rounding_mode="floor"), number % width
    offset = torch.stack(
        [
            y / stride + along * sin + across * cos - row - down,
            x / stride + along * cos - across * sin - column - right,
        ],
        -1,
    )
    return offset.flatten(2).transpose(1, 2).reshape(len(boxes), -1, height, width)
