"""1x1 convolutions by another routine: the same numbers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sodkit.models.kernels.pointwise import dilation
from tests.fake_cuda import CUDA, FakeCuda


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_and_gradients_are_those_of_torch(layout):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 5, 1)
    x = torch.randn(2, 6, 9, 7).contiguous(memory_format=layout).requires_grad_()
    inputs = [x, conv.weight, conv.bias]
    have, want = F.conv2d(x, conv.weight, conv.bias, dilation=dilation(x, conv)), conv(x)
    torch.testing.assert_close(have, want, atol=1e-5, rtol=1e-5)
    factors = torch.randn_like(want)
    found, wanted = (torch.autograd.grad((y * factors).sum(), inputs) for y in (have, want))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_only_kernels_of_one_tap_are_dilated_and_only_on_the_cpu():
    x = torch.randn(1, 6, 9, 7)
    assert dilation(x, nn.Conv2d(6, 5, 1)) == (2, 2)
    assert dilation(x, nn.Conv2d(6, 5, 3)) == (1, 1)
    assert dilation(x, nn.Conv2d(6, 5, 3, dilation=3)) == (3, 3)
    with FakeCuda():
        assert dilation(x.to(CUDA), nn.Conv2d(6, 5, 1)) == (1, 1)
