"""The adaptive convolution: a 3x3 convolution whose taps follow a box (Cascade RPN; paper 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d


def box_offsets(boxes: Tensor, stride: int, height: int, width: int) -> Tensor:
    """Return how far each tap moves from its place in a plain 3x3 convolution.

    The taps go to the centre, the middles of the sides and the corners of the box of their
    location (facts of the release, section 1, step 4).

    Args:
        boxes: (B, height * width, 4) xyxy in px, one for each location, row by row.
        stride: of the level, px.
        height: of the feature map.
        width: of the feature map.

    Returns:
        (B, 18, height, width): (dy, dx) for the taps row by row, in cells of the feature map.
    """
    cells = boxes.reshape(-1, height, width, 4) / stride
    centre = (cells[..., :2] + cells[..., 2:]) / 2
    grow = (cells[..., 2:] - cells[..., :2]) / 2 - 1
    taps = torch.tensor([-1.0, 0.0, 1.0], device=boxes.device)
    xs = torch.arange(width, device=boxes.device)[None, None, :]
    ys = torch.arange(height, device=boxes.device)[None, :, None]
    dx = (centre[..., 0] - xs)[..., None] + grow[..., 0, None] * taps
    dy = (centre[..., 1] - ys)[..., None] + grow[..., 1, None] * taps
    shape = (*dy.shape, 3)
    offsets = torch.stack([dy[..., :, None].expand(shape), dx[..., None, :].expand(shape)], -1)
    return offsets.flatten(3).permute(0, 3, 1, 2)


class AdaptiveConv(nn.Module):
    """3x3 convolution without bias that samples at offsets; they get no gradient."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        nn.init.normal_(self.weight, std=0.01)

    def forward(self, features: Tensor, offsets: Tensor) -> Tensor:
        """Convolve features (B, C, H, W) at offsets (B, 18, H, W) of ``box_offsets``."""
        result: Tensor = deform_conv2d(
            features.float(), offsets.contiguous(), self.weight, padding=1
        )
        return result.to(features.dtype)
