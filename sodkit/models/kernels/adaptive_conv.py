"""The adaptive convolution: a 3x3 convolution whose taps follow a box (Cascade RPN; paper 3.1).

On CUDA it is torchvision's deformable convolution. On the CPU that operator takes many times a
plain convolution's time, and its backward pass also computes a gradient of the offsets, which are
constants here. So there the samples are gathered as weighted sums of four cells each and multiplied
by the weights, in blocks of bounded memory. Compiled and exported graphs sample by ``grid_sample``:
compilers know it, and every ONNX runtime has it. All three give the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from sodkit.models.kernels.kept import Kept
from sodkit.models.kernels.tap_conv import tap_conv


class AdaptiveConv(nn.Module):
    """3x3 convolution without bias, sampling at the boxes of its locations."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        nn.init.normal_(self.weight, std=0.01)
        self.places = Kept(plain_taps)

    def forward(self, features: Tensor, boxes: Tensor, stride: int) -> Tensor:
        """Convolve a feature map, the taps at centre, side middles and corners of each box.

        Args:
            features: (B, C, H, W) one level of the pyramid.
            boxes: (B, H * W, 4) xyxy in px, one for each location, row by row; no gradient.
            stride: of the level, px.

        Returns:
            (B, C, H, W) in the type of ``features``.
        """
        if torch.compiler.is_compiling():
            return adaptive_conv_grid(features, boxes, stride, self.weight)
        if features.device.type == "cpu":
            return adaptive_conv_gather(features, boxes, stride, self.weight)
        places = self.places(features.shape[-2], features.shape[-1], features.device)
        return adaptive_conv_deform(features, boxes, stride, self.weight, places)


def adaptive_conv_deform(
    features: Tensor, boxes: Tensor, stride: int, weight: Tensor, places: PlainTaps | None = None
) -> Tensor:
    """Compute the adaptive convolution by torchvision's deformable one (see ``AdaptiveConv``)."""
    height, width = features.shape[-2:]
    offsets = box_offsets(boxes, stride, height, width, places)
    result: Tensor = deform_conv2d(features.float(), offsets, weight, padding=1)
    return result.to(features.dtype)


def adaptive_conv_gather(features: Tensor, boxes: Tensor, stride: int, weight: Tensor) -> Tensor:
    """Compute the adaptive convolution by gathering (see ``AdaptiveConv``)."""
    height, width = features.shape[-2:]
    x1, y1, x2, y2 = (boxes / stride).unbind(-1)
    y, x = torch.stack([y1, (y1 + y2) / 2, y2], -1), torch.stack([x1, (x1 + x2) / 2, x2], -1)
    shape = (*y.shape, 3)
    taps = torch.stack([y[..., None].expand(shape), x[..., None, :].expand(shape)], -1)
    taps = taps.flatten(2, 3)[:, :, :, None]
    return tap_conv(features, taps, weight.to(features.dtype), (height, width))


def adaptive_conv_grid(features: Tensor, boxes: Tensor, stride: int, weight: Tensor) -> Tensor:
    """Compute the adaptive convolution by grid sampling (see ``AdaptiveConv``).

    The taps of a location are sampled side by side, 3 x 3 to a cell, for a convolution of stride 3.
    """
    height, width = features.shape[-2:]
    cells = boxes.reshape(-1, height, width, 4) / stride
    low, high = cells[..., :2], cells[..., 2:]
    taps = torch.stack([low, (low + high) / 2, high], 3)
    # -1 and 1 are the outer edges of the first and the last cell
    taps = (2 * taps + 1) / taps.new_tensor([width, height]) - 1
    shape = (len(boxes), height, 3, width, 3)
    x = taps[..., 0][:, :, None].expand(shape)
    y = taps[..., 1].permute(0, 1, 3, 2)[..., None].expand(shape)
    places = torch.stack([x, y], -1).reshape(len(boxes), 3 * height, 3 * width, 2)
    samples = F.grid_sample(features.float(), places, align_corners=False)
    return F.conv2d(samples, weight, stride=3).to(features.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class PlainTaps:
    """Where a plain 3x3 convolution samples a feature map (H, W).

    Attributes:
        xs: (1, 1, W) columns.
        ys: (1, H, 1) rows.
        steps: (3,) -1, 0, 1.
    """

    xs: Tensor
    ys: Tensor
    steps: Tensor


def plain_taps(height: int, width: int, device: torch.device) -> PlainTaps:
    """Return where a plain convolution samples a map of ``height`` x ``width`` cells."""
    return PlainTaps(
        xs=torch.arange(width, device=device)[None, None, :],
        ys=torch.arange(height, device=device)[None, :, None],
        steps=torch.arange(-1.0, 2.0, device=device),
    )


def box_offsets(
    boxes: Tensor, stride: int, height: int, width: int, places: PlainTaps | None = None
) -> Tensor:
    """Return how far each tap moves from its place in a plain 3x3 convolution.

    The taps go to the centre, the middles of the sides and the corners of the box of their
    location (docs/release.md, step 4).

    Args:
        boxes: (B, height * width, 4) xyxy in px, one for each location, row by row.
        stride: of the level, px.
        height: of the feature map.
        width: of the feature map.
        places: ``plain_taps`` of the map, where they were kept.

    Returns:
        (B, 18, height, width): (dy, dx) for the taps row by row, in cells of the feature map.
    """
    cells = boxes.reshape(-1, height, width, 4) / stride
    centre = (cells[..., :2] + cells[..., 2:]) / 2
    grow = (cells[..., 2:] - cells[..., :2]) / 2 - 1
    at = places or plain_taps(height, width, boxes.device)
    dx = (centre[..., 0] - at.xs)[..., None] + grow[..., 0, None] * at.steps
    dy = (centre[..., 1] - at.ys)[..., None] + grow[..., 1, None] * at.steps
    shape = (*dy.shape, 3)
    offsets = torch.stack([dy[..., :, None].expand(shape), dx[..., None, :].expand(shape)], -1)
    return offsets.flatten(3).permute(0, 3, 1, 2).contiguous()
