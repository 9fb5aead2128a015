"""The adaptive convolution: a 3x3 convolution whose taps follow a box (Cascade RPN; paper 3.1).

On CUDA it is torchvision's deformable convolution. On the CPU that operator takes many times a
plain convolution's time, and its backward pass also computes a gradient of the offsets, which are
constants here. So there the samples are gathered as weighted sums of four cells each and multiplied
by the weights, in blocks of bounded memory. Compiled and exported graphs sample by ``grid_sample``:
compilers know it, and every ONNX runtime has it. All three give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from sodkit.models.kernels.gather import gather, scatter
from sodkit.models.kernels.kept import Kept

_TAPS = 9
_BLOCK_BYTES = 16 << 20
"""Of samples at a time: they stay in the cache, and in memory that the allocator does not give
back to the system after each block (measured: a quarter faster than 96 MB, in both directions)."""


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
    result: Tensor = _Gather.apply(features, boxes / stride, weight.to(features.dtype))
    return result


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


class _Gather(torch.autograd.Function):
    """The convolution as gathering and multiplication; boxes (in cells) are constants."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, cells: Tensor, weight: Tensor) -> Tensor:
        """Return (B, O, H, W); keeps only its inputs, samples are gathered again in backward."""
        ctx.save_for_backward(features, cells, weight)
        batch, _, height, width = features.shape
        kernel = _flat(weight)
        shape = (batch, len(weight), height, width)
        output = torch.empty(
            shape,
            dtype=features.dtype,
            device=features.device,
            memory_format=torch.channels_last,
        )
        rows = output.permute(0, 2, 3, 1).view(batch, height * width, -1)
        for image, table, block, index, share in _blocks(features, cells):
            samples = _samples(table, index, share)
            rows[image, block] = _multiply(samples, kernel)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor]:
        """Return the gradients of features and weight."""
        features, cells, weight = ctx.saved_tensors
        batch, channels, height, width = features.shape
        kernel = _flat(weight)
        back = kernel.t().contiguous()
        rows = grad.permute(0, 2, 3, 1).reshape(batch, height * width, -1)
        grad_features = torch.zeros(batch, height * width, channels, dtype=features.dtype)
        grad_kernel = torch.zeros(kernel.shape, dtype=torch.float32)
        for image, table, block, index, share in _blocks(features, cells):
            part = rows[image, block]
            grad_kernel += part.t() @ _samples(table, index, share)
            grads = _multiply(part, back).reshape(-1, channels)
            # grads (n * 9, C) a row a tap; four entries (cells) of the table belong to each
            tap = torch.arange(len(grads), dtype=torch.int32).repeat_interleave(4)
            scatter(grad_features[image], grads, index.flatten(), share.flatten(), tap)
        shape = (len(weight), 3, 3, channels)
        return (
            grad_features.reshape(batch, height, width, channels).permute(0, 3, 1, 2),
            None,
            grad_kernel.reshape(shape).permute(0, 3, 1, 2).to(weight.dtype),
        )


def _flat(weight: Tensor) -> Tensor:
    """Return the weight (O, C, 3, 3) as (O, 9 * C), tap by tap."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _blocks(features: Tensor, cells: Tensor) -> Iterator[tuple[int, Tensor, slice, Tensor, Tensor]]:
    """Yield image, its cells' features (H * W, C), and blocks of locations with their table."""
    _, channels, height, width = features.shape
    count = max(1, _BLOCK_BYTES // (_TAPS * channels * features.element_size()))
    for image, feature in enumerate(features.permute(0, 2, 3, 1)):
        table = feature.reshape(height * width, channels)
        for start in range(0, height * width, count):
            block = slice(start, min(start + count, height * width))
            index, share = _bilinear(cells[image, block], height, width)
            yield image, table, block, index, share.to(features.dtype)


def _bilinear(cells: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return which cells each tap of a box is made of, and their shares.

    Args:
        cells: (n, 4) boxes xyxy in cells of the feature map.
        height: of the feature map.
        width: of the feature map.

    Returns:
        index (n, 9, 4) int32 into the flattened map and share (n, 9, 4) float32; cells outside
        have share 0.
    """
    x, x_share = _linear(cells[:, 0], cells[:, 2], width)
    y, y_share = _linear(cells[:, 1], cells[:, 3], height)
    # y, x (n, 3, 2) -> (n, 3 rows, 3 columns, 2 above / below, 2 left / right)
    index = (y * width)[:, :, None, :, None] + x[:, None, :, None, :]
    share = y_share[:, :, None, :, None] * x_share[:, None, :, None, :]
    return index.reshape(-1, _TAPS, 4), share.reshape(-1, _TAPS, 4)


def _linear(low: Tensor, high: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the two cells (n, 3, 2) about low, middle and high on one axis, and their shares."""
    position = torch.stack([low, (low + high) / 2, high], 1)
    first = position.floor()
    after = position - first
    # boxes that diverged to NaN must lead to a loss that is NaN, not to an index error
    cell = torch.stack([first, first + 1], 2).nan_to_num()
    inside = (cell >= 0) & (cell < size)
    share = torch.stack([1 - after, after], 2) * inside
    return cell.clamp(0, size - 1).int(), share


def _samples(table: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Return the samples (n, 9 * C) of a table (cells, C)."""
    offsets = torch.arange(0, index.numel(), 4, dtype=torch.int32)
    return gather(table, index.flatten(), share.flatten(), offsets).reshape(len(index), -1)


def _multiply(rows: Tensor, kernel: Tensor) -> Tensor:
    """Return rows (n, K) @ kernel (O, K).T, as a 1x1 convolution: the faster routine on CPUs."""
    image = rows[None, :, None].permute(0, 3, 1, 2)
    with torch.autocast("cpu", enabled=False):
        result = F.conv2d(image, kernel[:, :, None, None])
    return result[0, :, :, 0].t()
