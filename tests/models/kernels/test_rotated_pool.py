import math
from unittest import mock

import pytest
import torch

from sodkit.models.kernels import rotated_pool

STRIDES = (4, 8, 16, 32)


def slow(feature, box, size, samples=2, moves=None):
    """RoIAlign of one oriented box (5,), in cells, on one map (C, H, W): loops, by definition."""
    cx, cy, w, h, angle = box.tolist()
    _, height, width = feature.shape
    out = feature.new_zeros(len(feature), size, size)
    for row in range(size):
        for column in range(size):
            for i in range(samples):
                for j in range(samples):
                    v = ((row + (i + 0.5) / samples) / size - 0.5) * h
                    u = ((column + (j + 0.5) / samples) / size - 0.5) * w
                    if moves is not None:
                        u += float(moves[row, column, 0]) * w
                        v += float(moves[row, column, 1]) * h
                    x = cx - 0.5 + u * math.cos(angle) - v * math.sin(angle)
                    y = cy - 0.5 + u * math.sin(angle) + v * math.cos(angle)
                    if x < -1 or x > width or y < -1 or y > height:
                        continue
                    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
                    x0, y0 = int(x), int(y)
                    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
                    fx, fy = x - x0, y - y0
                    out[:, row, column] += (
                        feature[:, y0, x0] * (1 - fx) * (1 - fy)
                        + feature[:, y0, x1] * fx * (1 - fy)
                        + feature[:, y1, x0] * (1 - fx) * fy
                        + feature[:, y1, x1] * fx * fy
                    ) / samples**2
    return out


def boxes(count, generator):
    """Return boxes in cells of a 20 x 30 map: any angle, small, long, beyond the map."""
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([34.0, 24.0]) - 2
    sides = torch.rand(count, 2, generator=generator).pow(3) * 25 + 0.1
    angle = (torch.rand(count, 1, generator=generator) - 0.5) * math.pi
    return torch.cat([centre, sides, angle], 1)


@pytest.mark.parametrize("size", [7, 3])
def test_within_1e_5_of_the_definition(size):
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(2, 3, 20, 30, generator=generator)
    rois, image = boxes(24, generator), torch.arange(24) % 2
    found = rotated_pool.align(feature, rois, image, size)
    wanted = torch.stack([slow(feature[i], b, size) for i, b in zip(image, rois, strict=True)])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_gradients():
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(2, 2, 6, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    rois = boxes(5, generator).double() * torch.tensor([0.25, 0.25, 0.3, 0.3, 1.0])
    image = torch.arange(5) % 2
    assert torch.autograd.gradcheck(lambda x: rotated_pool.align(x, rois, image, 3), feature)


def test_bins_that_move_are_within_1e_5_of_the_definition():
    generator = torch.Generator().manual_seed(1)
    feature = torch.randn(2, 3, 20, 30, generator=generator)
    rois, image = boxes(24, generator), torch.arange(24) % 2
    moves = torch.randn(24, 4, 4, 2, generator=generator) * 0.2
    found = rotated_pool.align(feature, rois, image, 4, moves)
    rows = zip(image, rois, moves, strict=True)
    wanted = torch.stack([slow(feature[i], box, 4, moves=move) for i, box, move in rows])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert (found - rotated_pool.align(feature, rois, image, 4)).abs().max() > 0.1


def test_gradients_of_the_moves():
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(2, 2, 6, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    rois = boxes(5, generator).double() * torch.tensor([0.25, 0.25, 0.3, 0.3, 1.0])
    image = torch.arange(5) % 2
    moves = (torch.rand(5, 3, 3, 2, generator=generator) * 0.2).double().requires_grad_()

    def pooled(x, offsets):
        return rotated_pool.align(x, rois, image, 3, offsets)

    assert torch.autograd.gradcheck(pooled, (feature, moves))
    (grad,) = torch.autograd.grad(pooled(feature, moves).square().sum(), moves)
    assert (grad != 0).any(-1).any(-1).any(-1).sum() >= 4


def test_a_quarter_turn_turns_the_grid():
    """Clockwise: the columns of a box turned by 90 degrees run down the image."""
    feature = torch.arange(20.0)[None, None, :, None].expand(1, 1, 20, 20)
    box = torch.tensor([[10.0, 10.0, 8.0, 4.0, math.pi / 2]])
    found = rotated_pool.align(feature, box, torch.tensor([0]), 4)[0, 0]
    assert (found.diff(dim=1) > 1.9).all()
    torch.testing.assert_close(found.diff(dim=0), torch.zeros(3, 4), atol=1e-5, rtol=0)


def test_chunks_make_no_difference():
    generator = torch.Generator().manual_seed(0)
    pyramid = [torch.randn(2, 4, 64 // 2**i, 64 // 2**i, generator=generator) for i in range(4)]
    rois = boxes(50, generator) * torch.tensor([8.0, 8.0, 9.0, 9.0, 1.0])
    image = torch.arange(50) % 2
    one, many = (
        rotated_pool.pool(pyramid, rois, image, STRIDES, 7, chunk=chunk) for chunk in (4096, 3)
    )
    assert one.shape == (50, 4, 7, 7)
    torch.testing.assert_close(one, many, atol=0, rtol=0)


def test_a_graph_pools_the_same():
    """Whose shapes do not depend on which level a box is pooled from."""
    generator = torch.Generator().manual_seed(0)
    pyramid = [torch.randn(2, 4, 64 // 2**i, 96 // 2**i, generator=generator) for i in range(4)]
    rois = boxes(80, generator) * torch.tensor([8.0, 8.0, 22.0, 22.0, 1.0])
    rois[:3] = torch.tensor([190.0, 120.0, 600.0, 500.0, 0.3])
    rois[3] = 0.0
    image = torch.arange(80) % 2
    assert rotated_pool.level_of_turned(rois, 4).unique().tolist() == [0, 1, 2, 3]
    wanted = rotated_pool.pool(pyramid, rois, image, STRIDES, 7)
    with mock.patch("torch.compiler.is_compiling", return_value=True):
        found = rotated_pool.pool(pyramid, rois, image, STRIDES, 7)
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=0)


def test_no_boxes():
    pyramid = [torch.zeros(1, 2, 8, 8)] * 4
    none = torch.zeros(0, dtype=torch.int64)
    assert rotated_pool.pool(pyramid, torch.zeros(0, 5), none, STRIDES, 7).shape == (0, 2, 7, 7)
