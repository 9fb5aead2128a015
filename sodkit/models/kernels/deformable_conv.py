"""Deformable convolution, version 1 (Dai et al., ICCV 2017) and 2 (Zhu et al., CVPR 2019).

A 3x3 convolution each of whose taps is moved by an offset, and in version 2 weighted by a mask.
On CUDA it is torchvision's operator. On the CPU samples are gathered, which takes a quarter to a
sixth of that operator's time (256 channels, maps of 38 x 38 and 100 x 100, both directions, one
thread). Both give the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from sodkit.models.kernels.tap_conv import TAPS, at_least_float32, tap_conv


class DeformableConv(nn.Module):
    """3x3 deformable convolution without bias, padded by 1.

    Args:
        inputs: channels of the features.
        outputs: channels of the result.
        stride: of the taps' places, 1 or 2.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, features: Tensor, offsets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Convolve features; see ``deformable_conv``."""
        return deformable_conv(features, offsets, self.weight, mask, self.stride)


def deformable_conv(
    features: Tensor, offsets: Tensor, weight: Tensor, mask: Tensor | None = None, stride: int = 1
) -> Tensor:
    """Return the deformable convolution of features, in their type.

    Samples between the centres of cells are bilinear; what lies outside of the map is 0.

    Args:
        features: (B, C, H, W).
        offsets: (B, G * 18, h, w), h = ceil(H / stride): (dy, dx) in cells for the taps row by
            row, for each of G groups of channels.
        weight: (O, C, 3, 3).
        mask: (B, G * 9, h, w) factors on the taps (version 2), None: 1 (version 1).
        stride: of the taps' places, in cells.

    Returns:
        (B, O, h, w).
    """
    if torch.compiler.is_compiling():
        return deformable_conv_grid(features, offsets, weight, mask, stride)
    if features.device.type == "cpu":
        return deformable_conv_gather(features, offsets, weight, mask, stride)
    return deformable_conv_vision(features, offsets, weight, mask, stride)


def deformable_conv_vision(
    features: Tensor, offsets: Tensor, weight: Tensor, mask: Tensor | None, stride: int
) -> Tensor:
    """Compute the deformable convolution by torchvision's operator (see ``deformable_conv``)."""
    kind = at_least_float32(features)
    factors = None if mask is None else mask.to(kind)
    with torch.autocast(features.device.type, enabled=False):
        result: Tensor = deform_conv2d(
            features.to(kind), offsets.to(kind), weight, stride=stride, padding=1, mask=factors
        )
    return result.to(features.dtype)


def deformable_conv_gather(
    features: Tensor, offsets: Tensor, weight: Tensor, mask: Tensor | None, stride: int
) -> Tensor:
    """Compute the deformable convolution by gathering (see ``deformable_conv``)."""
    columns, height, width = offsets.shape[1:]
    groups = columns // (2 * TAPS)
    # (B, G, 9, n, h * w) -> (B, h * w, 9, G, n)
    moves = offsets.to(at_least_float32(offsets)).reshape(-1, groups, TAPS, 2, height * width)
    taps = _plain(height, width, stride) + moves.permute(0, 4, 2, 1, 3)
    if mask is not None:
        factors = mask.to(taps.dtype).reshape(-1, groups, TAPS, height * width)
        taps = torch.cat([taps, factors.permute(0, 3, 2, 1)[..., None]], -1)
    return tap_conv(features, taps, weight.to(features.dtype), (height, width))


def deformable_conv_grid(
    features: Tensor, offsets: Tensor, weight: Tensor, mask: Tensor | None, stride: int
) -> Tensor:
    """Compute the deformable convolution by grid sampling (see ``deformable_conv``).

    Compilers know it, and every ONNX runtime has it. The taps of a location are sampled side by
    side, 3 x 3 to a cell, for a convolution of stride 3.
    """
    (height, width), (rows, columns) = features.shape[-2:], offsets.shape[-2:]
    count = len(offsets) * (offsets.shape[1] // (2 * TAPS))  # groups of channels of all images

    def beside(each: Tensor) -> Tensor:
        table = each.reshape(count, 3, 3, rows, columns).permute(0, 3, 1, 4, 2)
        return table.reshape(count, 3 * rows, 3 * columns)

    moves = offsets.float().reshape(count, TAPS, 2, rows * columns)
    plain = _plain(rows, columns, stride)[:, :, 0].permute(1, 2, 0).to(moves.device)
    y, x = (plain + moves).unbind(2)
    # -1 and 1 are the outer edges of the first and the last cell
    places = torch.stack([(2 * beside(x) + 1) / width - 1, (2 * beside(y) + 1) / height - 1], -1)
    maps = features.float().reshape(count, -1, height, width)
    samples = F.grid_sample(maps, places, align_corners=False)
    if mask is not None:
        samples = samples * beside(mask.float())[:, None]
    samples = samples.reshape(len(features), -1, 3 * rows, 3 * columns)
    return F.conv2d(samples, weight, stride=3).to(features.dtype)


def _plain(height: int, width: int, stride: int) -> Tensor:
    """Return where the taps of a plain convolution lie: (height * width, 9, 1, 2), (y, x)."""
    y, x = (stride * torch.arange(float(side)) for side in (height, width))
    taps = torch.arange(-1.0, 2.0)
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 1, 2)
    tap = torch.stack(torch.meshgrid(taps, taps, indexing="ij"), -1).reshape(1, -1, 2)
    return (grid + tap)[:, :, None]
