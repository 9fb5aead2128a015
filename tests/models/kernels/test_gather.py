import torch

from sodkit.models.kernels import gather
from tests.fake_cuda import CUDA, FakeCuda


def entries():
    """Return a target, the gradients of 40 sums, and the entries of these sums."""
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(40, 5, generator=rng)
    index = torch.randint(3, 17, (160,), generator=rng).int()  # cells 0 to 2 and 17 on have none
    share, bag = torch.rand(160, generator=rng), torch.arange(160).int() // 4
    return torch.zeros(20, 5), rows, index, share, bag


def test_on_a_gpu_the_same_gradient_without_a_wait():
    wanted, *given = entries()
    gather.scatter(wanted, *given)
    assert wanted[3:17].any(1).all()
    with FakeCuda() as gpu:
        target, *moved = (tensor.to(CUDA) for tensor in entries())
        gpu.reset()
        gather.scatter(target, *moved)
        assert not gpu.waits
        assert not gpu.copies
    torch.testing.assert_close(target, wanted, rtol=0, atol=0)
