import pytest
import torch
from torch.nn import functional as F

from sodkit.models.kernels import tap_conv
from sodkit.models.kernels.deformable_conv import (
    DeformableConv,
    deformable_conv,
    deformable_conv_gather,
    deformable_conv_grid,
    deformable_conv_vision,
)
from tests.fake_cuda import CUDA, FakeCuda


def case(*, groups=1, stride=1, masked=True, spread=1.5, size=(9, 13)):
    """Return features, offsets, weight, mask, stride; rows and columns are odd in number."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(2, *shape, generator=generator)

    out = [-(-side // stride) for side in size]
    weight = 0.1 * torch.randn(12, 16, 3, 3, generator=generator)
    mask = drawn(9 * groups, *out).sigmoid() if masked else None
    return drawn(16, *size), spread * drawn(18 * groups, *out), weight, mask, stride


def gradients(function, *args):
    leaves = [x.clone().requires_grad_() if torch.is_tensor(x) else x for x in args]
    output = function(*leaves)
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    return output.detach(), *(x.grad for x in leaves if torch.is_tensor(x))


@pytest.mark.parametrize("block", [1 << 30, 20_000])
@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("spread", [0.5, 8.0])
def test_gathering_is_the_operator_of_torchvision(
    block, groups, stride, masked, spread, monkeypatch
):
    """Output and gradients of features, offsets, weight and mask; taps beyond the map, too."""
    monkeypatch.setattr(tap_conv, "_BLOCK_BYTES", block)
    args = case(groups=groups, stride=stride, masked=masked, spread=spread)
    ours = gradients(deformable_conv_gather, *args)
    theirs = gradients(deformable_conv_vision, *args)
    assert len(ours) == len(theirs) == 4 + masked
    for have, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(have, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_grid_sampling_is_the_operator_of_torchvision(groups, stride, masked):
    """What compiled and exported graphs have; taps beyond the map, too."""
    args = case(groups=groups, stride=stride, masked=masked, spread=4.0)
    want = deformable_conv_vision(*args)
    torch.testing.assert_close(deformable_conv_grid(*args), want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("constant", [0, 1, 2, 3])
def test_what_is_constant_gets_no_gradient_and_changes_none(constant):
    args = case(groups=2)
    want = gradients(deformable_conv_gather, *args)
    leaves = [x.clone().requires_grad_(place != constant) for place, x in enumerate(args[:4])]
    output = deformable_conv_gather(*leaves, 1)
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    for place, (leaf, grad) in enumerate(zip(leaves, want[1:], strict=True)):
        if place == constant:
            assert leaf.grad is None
        else:
            torch.testing.assert_close(leaf.grad, grad, atol=0, rtol=0)


@pytest.mark.parametrize("stride", [1, 2])
def test_without_offsets_it_is_a_plain_convolution(stride):
    features, offsets, weight, _, _ = case(stride=stride)
    for given in (features, features.to(memory_format=torch.channels_last)):
        found = deformable_conv(given, torch.zeros_like(offsets), weight, stride=stride)
        want = F.conv2d(features, weight, stride=stride, padding=1)
        torch.testing.assert_close(found, want, atol=1e-5, rtol=1e-5)


def test_offsets_are_y_before_x():
    features, offsets, weight, _, _ = case()
    down = torch.zeros_like(offsets)
    down[:, 0::2] = 1  # one row down: the first row of the result is the second of a plain one
    found = deformable_conv(features, down, weight)
    want = F.conv2d(features, weight, padding=1)
    torch.testing.assert_close(found[:, :, :-1], want[:, :, 1:], atol=1e-5, rtol=1e-5)


def test_extreme_offsets_are_zero_not_a_crash():
    features, offsets, weight, _, _ = case()
    offsets[:, :, 0, 0] = 1e30
    offsets[:, :, 0, 1] = float("nan")
    found = deformable_conv_gather(features, offsets, weight, None, 1)
    assert (found[:, :, 0, 0] == 0).all()
    assert torch.isfinite(found[:, :, 1:]).all()


@pytest.mark.parametrize("function", [deformable_conv_gather, deformable_conv_vision])
def test_bfloat16_stays_close(function):
    args = case(groups=2)
    want = gradients(function, *args)
    rough = [args[0].bfloat16(), args[1], args[2], args[3]]
    found = gradients(function, *rough, 1)
    assert found[0].dtype == torch.bfloat16
    assert found[3].dtype == torch.float32
    for have, exact in zip(found, want, strict=True):
        assert (have.float() - exact).abs().max() < 0.02 * exact.abs().max()


def test_a_gpu_takes_the_operator_of_torchvision():
    args = case()
    want = gradients(deformable_conv, *args)
    with FakeCuda() as gpu:
        leaves = [x.to(CUDA).requires_grad_() for x in args[:4]]
        gpu.reset()
        output = deformable_conv(*leaves, 1)
        output.sum().backward()
        assert output.is_cuda
        assert not gpu.waits
        assert not gpu.copies
    torch.testing.assert_close(output, want[0], atol=1e-4, rtol=1e-4)


def test_the_module_starts_with_the_scale_of_he():
    torch.manual_seed(0)
    weight = DeformableConv(64, 64).weight
    assert weight.abs().max() <= (6 / (64 * 9)) ** 0.5
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
