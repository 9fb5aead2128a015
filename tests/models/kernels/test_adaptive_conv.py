import pytest
import torch
from torch.nn import functional as F

from sodkit.models.kernels import tap_conv
from sodkit.models.kernels.adaptive_conv import (
    adaptive_conv_deform,
    adaptive_conv_gather,
    adaptive_conv_grid,
)


def case(batch=2, channels=16, height=9, width=13, stride=4, spread=3.0):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(batch, channels, height, width, generator=generator)
    weight = torch.randn(channels, channels, 3, 3, generator=generator) * 0.1
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centre = torch.stack([xs, ys], -1).reshape(1, -1, 2) * float(stride)
    centre = centre + spread * stride * torch.randn(batch, height * width, 2, generator=generator)
    half = torch.rand(batch, height * width, 2, generator=generator) * 4 * stride
    return features, torch.cat([centre - half, centre + half], -1), stride, weight


def gradients(function, features, boxes, stride, weight):
    features, weight = features.clone().requires_grad_(), weight.clone().requires_grad_()
    output = function(features, boxes, stride, weight)
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    return output.detach(), features.grad, weight.grad


@pytest.mark.parametrize("block", [1 << 30, 20_000])
@pytest.mark.parametrize("spread", [0.5, 8.0])
def test_gathering_is_the_deformable_convolution(block, spread, monkeypatch):
    """Also with boxes beyond the map, and in blocks."""
    monkeypatch.setattr(tap_conv, "_BLOCK_BYTES", block)
    args = case(spread=spread)
    ours, theirs = gradients(adaptive_conv_gather, *args), gradients(adaptive_conv_deform, *args)
    for have, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(have, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("spread", [0.5, 8.0])
def test_grid_sampling_is_the_deformable_convolution(spread):
    args = case(spread=spread)
    ours, theirs = gradients(adaptive_conv_grid, *args), gradients(adaptive_conv_deform, *args)
    for have, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(have, want, atol=1e-4, rtol=1e-4)


def test_boxes_of_the_size_of_the_taps_give_a_plain_convolution():
    features, _, stride, weight = case()
    ys, xs = torch.meshgrid(torch.arange(9), torch.arange(13), indexing="ij")
    centre = torch.stack([xs, ys], -1).reshape(1, -1, 2).expand(2, -1, -1) * 4.0
    boxes = torch.cat([centre - stride, centre + stride], -1)
    found = adaptive_conv_gather(features, boxes, stride, weight)
    torch.testing.assert_close(found, F.conv2d(features, weight, padding=1), atol=1e-4, rtol=1e-4)


def test_extreme_boxes_are_zero_not_a_crash():
    features, boxes, stride, weight = case()
    boxes[:, 0] = torch.tensor([1e30, 1e30, 2e30, 2e30])
    boxes[:, 1] = float("nan")
    found = adaptive_conv_gather(features, boxes, stride, weight).flatten(2)
    assert (found[:, :, 0] == 0).all()
    assert torch.isfinite(found[:, :, 2:]).all()


def test_bfloat16_stays_close():
    features, boxes, stride, weight = case()
    want = adaptive_conv_gather(features, boxes, stride, weight)
    found = adaptive_conv_gather(features.bfloat16(), boxes, stride, weight)
    assert found.dtype == torch.bfloat16
    assert (found.float() - want).abs().max() < 0.02 * want.abs().max()
