import math

import pytest
import torch

from sodkit.models.kernels import rotated_pool
from sodkit.models.parts.deformed_pool import DeformedPool, ImportancePool, MapNorm


def generator():
    return torch.Generator().manual_seed(0)


def filled(module):
    """Give every parameter random values."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator())
    return module


def slow_importance(x, logits):
    """Weighted means of 3 x 3 cells, two cells apart: loops, by definition."""
    count, channels, side, _ = x.shape
    weight = torch.exp(12 / (1 + torch.exp(-logits)))
    out = x.new_zeros(count, channels, side // 2, side // 2)
    for row in range(side // 2):
        for column in range(side // 2):
            total = share = 0
            for y in range(max(0, 2 * row - 1), min(side, 2 * row + 2)):
                for z in range(max(0, 2 * column - 1), min(side, 2 * column + 2)):
                    total = total + x[:, :, y, z] * weight[:, :, y, z]
                    share = share + weight[:, :, y, z]
            out[:, :, row, column] = total / share
    return out


@pytest.mark.parametrize("start", [True, False])
def test_importance_is_the_definition(start):
    pool = ImportancePool(3).double()
    if not start:
        filled(pool)
    x = torch.randn(4, 3, 14, 14, generator=generator()).double()
    logits = pool.conv(x)
    mean, var = logits.mean((2, 3), keepdim=True), logits.var((2, 3), correction=0, keepdim=True)
    scale, shift = (p[:, None, None] for p in (pool.norm.weight, pool.norm.bias))
    logits = (logits - mean) / (var + 1e-5).sqrt() * scale + shift
    torch.testing.assert_close(pool(x), slow_importance(x, logits).float(), atol=1e-5, rtol=0)
    if start:  # plain means
        plain = slow_importance(x, torch.zeros_like(x)).float()
        torch.testing.assert_close(pool(x), plain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_each_map_is_normalised_as_a_group(count, layout):
    norm, wanted = filled(MapNorm(3, 3)), torch.nn.GroupNorm(3, 3)
    wanted.load_state_dict(norm.state_dict())
    x = torch.randn(count, 3, 6, 4, generator=generator()).contiguous(memory_format=layout)
    given = [x.clone().requires_grad_() for _ in range(2)]
    results = [module(one) for module, one in zip((norm, wanted), given, strict=True)]
    torch.testing.assert_close(*results)
    for result in results:
        (result * torch.arange(4)).sum().backward()
    torch.testing.assert_close(given[0].grad, given[1].grad)
    for own, other in zip(norm.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)


def test_at_the_start_bins_do_not_move():
    pool = DeformedPool(3, 4, 8)
    feature = torch.randn(2, 3, 20, 30, generator=generator())
    rois = torch.tensor([[10.0, 9, 12, 5, 0.4], [20, 12, 6, 6, -1.2], [3, 3, 9, 2, 1.5]])
    image = torch.tensor([0, 1, 1])
    fine = rotated_pool.align(feature, rois, image, 8)
    wanted = slow_importance(fine.double(), torch.zeros_like(fine).double()).float()
    torch.testing.assert_close(pool(feature, rois, image), wanted, atol=1e-5, rtol=0)


def test_two_by_two_bins_move_together_along_the_sides_of_the_box():
    """A move of 1 shifts a bin by a tenth of the box's side, x along w and y along h."""
    pool = DeformedPool(1, 2, 4)
    last = pool.moves[-1]
    # outputs: x of the four bins, then y
    last.bias.data = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 2.0])
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    angle = 0.5
    roi = torch.tensor([[20.0, 20, 20, 10, angle]])
    image = torch.tensor([0])
    for axis, feature in enumerate((x, y)):
        feature = feature[None, None]
        moves = torch.zeros(1, 4, 4, 2)
        moves[0, :2, :2, 0], moves[0, 2:, 2:, 1] = 0.1, 0.2
        fine = rotated_pool.align(feature, roi, image, 4, moves)
        shift = (fine - rotated_pool.align(feature, roi, image, 4))[0, 0]
        step = (2 * math.cos(angle), 2 * math.sin(angle))[axis]
        across = (-2 * math.sin(angle), 2 * math.cos(angle))[axis]
        torch.testing.assert_close(shift[:2, :2], torch.full((2, 2), step), atol=1e-4, rtol=0)
        torch.testing.assert_close(shift[2:, 2:], torch.full((2, 2), across), atol=1e-4, rtol=0)
        torch.testing.assert_close(pool(feature, roi, image), pool.importance(fine))


def test_gradients_reach_the_moves_and_the_importance():
    pool = filled(DeformedPool(2, 2, 4)).double()
    feature = torch.randn(1, 2, 9, 9, generator=generator()).double().requires_grad_()
    rois = torch.tensor([[4.2, 5.1, 5, 3, 0.4], [3.7, 3.9, 4, 4, -1.2]]).double()
    image = torch.zeros(2).long()
    parameters = list(pool.parameters())

    def pooled(x, *values):
        state = dict(zip([name for name, _ in pool.named_parameters()], values, strict=True))
        return torch.func.functional_call(pool, state, (x, rois, image))

    result = pooled(feature, *parameters)
    grads = torch.autograd.grad(result.square().sum(), [feature, *parameters])
    with torch.no_grad():
        for index, value in enumerate([feature, *parameters]):
            direction = torch.randn(value.shape, generator=generator()).double()
            ends = []
            for step in (1e-5, -1e-5):
                values = [feature, *parameters]
                values[index] = value + step * direction
                ends.append(slow_total(pool, values, rois, image))
            slope = (ends[0] - ends[1]) / 2e-5
            torch.testing.assert_close(
                (grads[index].double() * direction).sum(), slope, rtol=2e-4, atol=1e-4
            )


def slow_total(pool, values, rois, image):
    """Return the sum of squares of what ``pool`` gives, all in float64."""
    names = [name for name, _ in pool.named_parameters()]
    state = dict(zip(names, values[1:], strict=True))
    coarse = rotated_pool.align(values[0], rois, image, 3).flatten(1)
    for number in (0, 2, 4):
        coarse = coarse @ state[f"moves.{number}.weight"].T + state[f"moves.{number}.bias"]
        coarse = coarse.relu() if number < 4 else coarse
    moves = coarse.reshape(-1, 2, 2, 2) * 0.1
    moves = moves.repeat_interleave(2, 2).repeat_interleave(2, 3).permute(0, 2, 3, 1)
    fine = rotated_pool.align(values[0], rois, image, 4, moves)
    logits = torch.nn.functional.conv2d(fine, state["importance.conv.weight"], padding=1)
    mean, var = logits.mean((2, 3), keepdim=True), logits.var((2, 3), correction=0, keepdim=True)
    scale, shift = (state[f"importance.norm.{n}"][:, None, None] for n in ("weight", "bias"))
    logits = (logits - mean) / (var + 1e-5).sqrt() * scale + shift
    return slow_importance(fine, logits).square().sum()


def test_no_boxes():
    pool = filled(DeformedPool(3, 4, 8))
    none = torch.zeros(0, dtype=torch.int64)
    result = pool(torch.randn(1, 3, 8, 8), torch.zeros(0, 5), none)
    assert result.shape == (0, 3, 4, 4)
    result.sum().backward()
    assert all((p.grad == 0).all() for p in pool.parameters())
