"""The aligned convolution against slow loops, and where it is a plain convolution."""

import math

import torch
from torch.nn import functional as F

from sodkit.models.kernels.aligned_conv import AlignedConv, aligned_offsets
from sodkit.models.kernels.deformable_conv import (
    deformable_conv_gather,
    deformable_conv_grid,
    deformable_conv_vision,
)

STRIDE, HEIGHT, WIDTH = 8, 5, 6


def boxes_of_cells(side=3.0 * STRIDE, angle=0.0):
    """Return square boxes (1, H * W, 5) on the locations."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    centre = STRIDE * torch.stack([x, y], -1).reshape(-1, 2).float()
    rest = torch.tensor([side, side, angle]).expand(len(centre), 3)
    return torch.cat([centre, rest], 1)[None]


def drawn(count=2):
    generator = torch.Generator().manual_seed(0)
    shape = (count, HEIGHT * WIDTH, 1)
    centre = torch.rand(count, HEIGHT * WIDTH, 2, generator=generator) * 60 - 6
    sides = 2 + 40 * torch.rand(count, HEIGHT * WIDTH, 2, generator=generator)
    angle = 4 * torch.rand(shape, generator=generator) - 2
    return torch.cat([centre, sides, angle], 2)


def sample(feature, x, y):
    """Return (C,) a map (C, H, W) between the centres of its cells, 0 outside."""
    total = torch.zeros(len(feature))
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < HEIGHT and 0 <= column < WIDTH:
                share = (1 - abs(y - row)) * (1 - abs(x - column))
                total += share * feature[:, row, column]
    return total


def slow(features, boxes, weight):
    found = torch.zeros(len(features), len(weight), HEIGHT, WIDTH)
    for image, feature in enumerate(features):
        for place, (cx, cy, w, h, angle) in enumerate(boxes[image].tolist()):
            cos, sin = math.cos(angle), math.sin(angle)
            for row in range(3):
                for column in range(3):
                    along, across = (column - 1) * w / 3, (row - 1) * h / 3
                    x = (cx + along * cos - across * sin) / STRIDE
                    y = (cy + along * sin + across * cos) / STRIDE
                    term = weight[:, :, row, column] @ sample(feature, x, y)
                    found[image, :, place // WIDTH, place % WIDTH] += term
    return found


def test_it_samples_inside_the_boxes():
    torch.manual_seed(0)
    conv, features, boxes = AlignedConv(4), torch.randn(2, 4, HEIGHT, WIDTH), drawn()
    wanted = slow(features, boxes, conv.conv.weight.detach())
    torch.testing.assert_close(conv(features, boxes, STRIDE), wanted, atol=1e-4, rtol=1e-4)
    offsets, weight = aligned_offsets(boxes, STRIDE, (HEIGHT, WIDTH)), conv.conv.weight
    for way in (deformable_conv_gather, deformable_conv_grid, deformable_conv_vision):
        torch.testing.assert_close(
            way(features, offsets, weight, None, 1), wanted, atol=1e-4, rtol=1e-4
        )


def test_upright_boxes_of_three_cells_make_it_a_plain_convolution():
    torch.manual_seed(0)
    conv, features = AlignedConv(4), torch.randn(1, 4, HEIGHT, WIDTH)
    wanted = F.conv2d(features, conv.conv.weight, padding=1)
    torch.testing.assert_close(conv(features, boxes_of_cells(), STRIDE), wanted)
    # boxes that are turned by a quarter turn the filter with them, clockwise
    turned = F.conv2d(features, conv.conv.weight.rot90(-1, (2, 3)), padding=1)
    found = conv(features, boxes_of_cells(angle=math.pi / 2), STRIDE)
    torch.testing.assert_close(found, turned, atol=1e-5, rtol=1e-4)


def test_boxes_get_no_gradient():
    conv, boxes = AlignedConv(4), drawn().requires_grad_()
    features = torch.randn(2, 4, HEIGHT, WIDTH, requires_grad=True)
    conv(features, boxes, STRIDE).sum().backward()
    assert boxes.grad is None
    assert features.grad.abs().sum() > 0
    assert conv.conv.weight.grad.abs().sum() > 0


def test_boxes_that_diverged_make_no_error():
    conv = AlignedConv(2)
    for bad in (math.nan, math.inf):
        boxes = torch.full((1, HEIGHT * WIDTH, 5), bad)
        assert conv(torch.randn(1, 2, HEIGHT, WIDTH), boxes, STRIDE).shape[-1] == WIDTH
