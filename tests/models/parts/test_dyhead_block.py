import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from sodkit.models.parts.dyhead_block import DyHeadBlock, DynamicRelu


def drawn(*sizes, channels=16, batch=2):
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(batch, channels, *size, generator=rng) for size in sizes]


def block(spread=0.3):
    """Return a block whose taps move."""
    torch.manual_seed(0)
    module = DyHeadBlock(16, 4)
    torch.nn.init.normal_(module.offset.weight, std=spread)
    return module


def slow(module, levels, number):
    """Compute one level by torchvision's operator, an image at a time."""

    def attended(conv, x, offsets, mask, stride=1):
        y = deform_conv2d(x, offsets, conv.conv.weight, stride=stride, padding=1, mask=mask)
        return F.group_norm(y, 4, conv.norm.weight, conv.norm.bias)

    found = []
    for image in range(len(levels[0])):
        each = [level[image : image + 1] for level in levels]
        x = each[number]
        moved = F.conv2d(x, module.offset.weight, module.offset.bias, padding=1)
        offsets, mask = moved[:, :18], moved[:, 18:].sigmoid()
        terms = [attended(module.mid, x, offsets, mask)]
        if number > 0:
            terms.append(attended(module.low, each[number - 1], offsets, mask, stride=2))
        if number + 1 < len(each):
            rows, columns = each[number + 1].shape[2:]
            # a tensor of memory, read with the size of the coarser level
            folded = offsets.contiguous().view(-1)[: 18 * rows * columns]
            weights = mask.contiguous().view(-1)[: 9 * rows * columns]
            y = attended(
                module.high, each[number + 1], folded.view(1, 18, rows, columns),
                weights.view(1, 9, rows, columns),
            )  # fmt: skip
            terms.append(F.interpolate(y, x.shape[2:], mode="bilinear", align_corners=True))
        total = 0
        for term in terms:
            attention = F.conv2d(term.mean((2, 3), keepdim=True), module.scale.weight)
            attention = (attention + module.scale.bias[0]).clamp(min=0)
            total = total + term * ((attention + 3) / 6).clamp(0, 1)
        found.append(module.task(total / len(terms)))
    return torch.cat(found)


@pytest.mark.parametrize("sizes", [((9, 14), (5, 7), (3, 4), (2, 2)), ((8, 8), (4, 4))])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_it_is_what_an_image_and_an_operator_at_a_time_give(sizes, memory):
    """Also where levels are not exactly half as large, and in any layout of memory."""
    module = block().to(memory_format=memory)
    levels = [level.contiguous(memory_format=memory) for level in drawn(*sizes)]
    with torch.no_grad():
        found = module(levels)
        for number, level in enumerate(levels):
            assert found[number].shape == level.shape
            want = slow(module, levels, number)
            torch.testing.assert_close(found[number], want, atol=1e-4, rtol=1e-4)


def test_at_the_start_taps_stay_and_weigh_one_half():
    torch.manual_seed(0)
    module = DyHeadBlock(16, 4)
    (x,) = drawn((6, 7))
    with torch.no_grad():
        (found,) = module([x])
        plain = F.conv2d(x, 0.5 * module.mid.conv.weight, padding=1)
        y = F.group_norm(plain, 4)
        want = module.task(y * F.hardsigmoid(F.relu(module.scale(y.mean((2, 3), keepdim=True)))))
    torch.testing.assert_close(found, want, atol=1e-4, rtol=1e-4)


def test_the_dynamic_relu_is_relu_where_coefficients_are_0():
    module = DynamicRelu(16)
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    (x,) = drawn((6, 7))
    torch.testing.assert_close(module(x), x.relu())


def test_the_dynamic_relu_is_the_larger_of_two_lines():
    module = DynamicRelu(16)
    torch.nn.init.zeros_(module.excite.weight)
    with torch.no_grad():  # hard sigmoids of 5/6, 1, 0 and 2/3
        module.excite.bias.copy_(torch.tensor([2.0, 9, -9, 1]).repeat_interleave(16))
        (x,) = drawn((6, 7))
        want = torch.maximum(x * (2 / 3 + 1) + 0.5, -x + 1 / 6)
        torch.testing.assert_close(module(x), want)


def test_every_parameter_learns_but_where_no_level_is_beside():
    module = block()
    sum(level.square().sum() for level in module(drawn((8, 9), (4, 5)))).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
