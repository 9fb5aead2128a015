"""A 3x3 convolution whose nine taps may lie anywhere: samples are gathered, then multiplied.

For the CPU. Each sample is a weighted sum of four cells of the feature map; the samples of a block
of locations are multiplied by the weights while they are in the cache. torchvision's operator goes
through the channels one by one instead, and takes several times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sodkit.models.kernels.gather import gather, neighbours, scatter

TAPS = 9
_BLOCK_BYTES = 16 << 20
"""Of samples at a time: they stay in the cache, and in memory that the allocator does not give
back to the system after each block (measured: a quarter faster than 96 MB, in both directions)."""


def tap_conv(features: Tensor, taps: Tensor, weight: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the convolution (B, O, h, w) of features (B, C, H, W) sampled at ``taps``.

    Between the centres of cells samples are bilinear; what lies outside of the map is 0.

    Args:
        features: (B, C, H, W).
        taps: (B, h * w, 9, G, 2) float32: (y, x) of each tap, row by row, in cells from the centre
            of the first one, for each of G groups of channels; or (B, h * w, 9, G, 3) with the
            factor that the sample is multiplied by.
        weight: (O, C, 3, 3) in the type of ``features``.
        shape: (h, w) of the output.
    """
    result: Tensor = _TapConv.apply(features, taps, weight, shape)
    return result


class _TapConv(torch.autograd.Function):
    """``tap_conv`` with gradients of features, weight and, if it is asked for, taps."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, taps: Tensor, weight: Tensor, shape: tuple[int, int]
    ) -> Tensor:
        """Return (B, O, h, w); keeps only its inputs, samples are gathered again in backward."""
        ctx.save_for_backward(features, taps, weight)
        kernel = _flat(weight)
        output = torch.empty(
            (len(features), len(weight), *shape),
            dtype=features.dtype,
            device=features.device,
            memory_format=torch.channels_last,
        )
        rows = output.permute(0, 2, 3, 1).view(len(features), -1, len(weight))
        size = (features.shape[2], features.shape[3])
        for image, table, block in _blocks(features, taps):
            index, share = _bilinear(taps[image, block], size)
            samples = _samples(table, index, share.to(features.dtype))
            rows[image, block] = _multiply(samples, kernel)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of all four inputs."""
        features, taps, weight = ctx.saved_tensors
        batch, channels, height, width = features.shape
        depth = channels // taps.shape[3]
        kernel = _flat(weight)
        back = kernel.t().contiguous()
        rows = grad.permute(0, 2, 3, 1).reshape(batch, -1, len(weight))
        table_grad = features.new_zeros(batch, features[0].numel() // depth, depth)
        kernel_grad = torch.zeros(kernel.shape, dtype=at_least_float32(kernel))
        taps_grad = torch.zeros_like(taps) if ctx.needs_input_grad[1] else None
        for image, table, block in _blocks(features, taps):
            part = rows[image, block]
            grads = _multiply(part, back)
            own = taps[image, block].detach().requires_grad_(taps_grad is not None)
            with torch.enable_grad():
                index, share = _bilinear(own, (height, width))
                samples = _samples(table, index, share.to(features.dtype))
            if taps_grad is not None:
                (taps_grad[image, block],) = torch.autograd.grad(samples, own, grads)
            kernel_grad += part.t() @ samples.detach()
            grads = grads.reshape(-1, depth)
            # a row a tap and group; four entries (cells) of the table belong to each
            row = torch.arange(len(grads), dtype=torch.int32).repeat_interleave(4)
            share = share.detach().to(grads)
            scatter(table_grad[image], grads, index.flatten(), share.flatten(), row)
        return (
            table_grad.reshape(batch, height, width, channels).permute(0, 3, 1, 2),
            taps_grad,
            kernel_grad.reshape(-1, 3, 3, channels).permute(0, 3, 1, 2).to(weight.dtype),
            None,
        )


def at_least_float32(x: Tensor) -> torch.dtype:
    """Return the type that places of taps and sums of many products are computed in."""
    return torch.promote_types(x.dtype, torch.float32)


def _flat(weight: Tensor) -> Tensor:
    """Return the weight (O, C, 3, 3) as (O, 9 * C), tap by tap."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _blocks(features: Tensor, taps: Tensor) -> Iterator[tuple[int, Tensor, slice]]:
    """Yield image, its table (H * W * G, C / G), and blocks of locations.

    The G parts of a cell's channels are rows of their own, one after the other.
    """
    channels, locations, groups = features.shape[1], taps.shape[1], taps.shape[3]
    count = max(1, _BLOCK_BYTES // (TAPS * channels * features.element_size()))
    for image, feature in enumerate(features.permute(0, 2, 3, 1)):
        table = feature.reshape(-1, channels // groups)
        for start in range(0, locations, count):
            yield image, table, slice(start, min(start + count, locations))


def _bilinear(taps: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return which rows of the table each tap is made of, and their shares.

    Args:
        taps: (n, 9, G, 2 or 3).
        size: (height, width) of the feature map.

    Returns:
        index (n, 9, G, 4) int32 and share (n, 9, G, 4) float32; cells outside have share 0.
    """
    height, width = size
    (top, bottom), (above, below) = neighbours(taps[..., 0], height)
    (left, right), (before, after) = neighbours(taps[..., 1], width)
    if taps.shape[-1] == 3:
        above, below = above * taps[..., 2], below * taps[..., 2]
    groups = taps.shape[2]
    group = torch.arange(groups, dtype=torch.int32)
    # product by product: broadcasting over axes of two is several times slower
    index = [(y * width + x) * groups + group for y in (top, bottom) for x in (left, right)]
    share = [y * x for y in (above, below) for x in (before, after)]
    return torch.stack(index, -1), torch.stack(share, -1)


def _samples(table: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Return the samples (n, 9 * C) of a table (cells * G, C / G)."""
    offsets = torch.arange(0, index.numel(), 4, dtype=torch.int32)
    return gather(table, index.flatten(), share.flatten(), offsets).reshape(len(index), -1)


def _multiply(rows: Tensor, kernel: Tensor) -> Tensor:
    """Return rows (n, K) @ kernel (O, K).T, as a 1x1 convolution: the faster routine on CPUs."""
    image = rows[None, :, None].permute(0, 3, 1, 2)
    with torch.autocast("cpu", enabled=False):
        result = F.conv2d(image, kernel[:, :, None, None])
    return result[0, :, :, 0].t()
