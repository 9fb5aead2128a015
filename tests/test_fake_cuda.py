import pytest
import torch

from tests.fake_cuda import CUDA, FakeCuda, MixedDevicesError


def numbers(*shape: int) -> torch.Tensor:
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape)


def test_what_is_computed_from_a_tensor_of_the_device_is_there_too():
    with FakeCuda() as gpu:
        x = numbers(3, 4).to(CUDA, non_blocking=True).requires_grad_()
        y = (x[:, 1:] * 2 + torch.ones(3, device=x.device)[:, None]).sum()
        y.backward()
        assert x.device == y.device == x.grad.device == torch.zeros_like(x).device == CUDA
        assert x.is_cuda
        assert numbers(3).device.type == "cpu"
        assert x.new_zeros(3).device == CUDA
    assert not gpu.waits
    assert not gpu.copies
    assert x.device.type == "cpu"
    assert x.grad.tolist() == [[0, 2, 2, 2]] * 3


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: int(x.sum()),
        lambda x: bool((x > 3).any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu", non_blocking=True),
        lambda x: torch.nonzero(x),
        lambda x: x[x > 3],
        lambda x: x.unique(),
        lambda x: torch.equal(x, x + 1),
        lambda x: torch.arange(4, device=x.device).repeat_interleave(x[0].long()),
    ],
)
def test_a_planted_synchronisation_is_counted_at_its_line(wait):
    with FakeCuda() as gpu:
        x = numbers(3, 4).to(CUDA, non_blocking=True)
        wait(x)
    (line,) = gpu.waits
    assert line.startswith("test_fake_cuda.py:")
    assert gpu.waits.total() == 1
    assert not gpu.copies


@pytest.mark.parametrize(
    "copy",
    [
        lambda x: numbers(3).to(x.device),
        lambda x: numbers(3).to(x),
        lambda x: numbers(3).cuda(),
        lambda x: torch.tensor([1.0, 2.0], device=x.device),
        lambda x: x.new_tensor([1.0, 2.0]),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: x[0].copy_(numbers(4)),
    ],
)
def test_a_planted_blocking_copy_is_counted(copy):
    with FakeCuda() as gpu:
        copy(numbers(3, 4).to(CUDA, non_blocking=True))
    assert gpu.copies.total() == 1
    assert not gpu.waits


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + numbers(4),
        lambda x: torch.cat([x, numbers(1, 4)]),
        lambda x: numbers(3).index_add_(0, torch.tensor([0, 1, 2]), x[:, 0]),
        lambda x: numbers(3, 4)[x[:, 0].long().clamp(max=2)],
        lambda x: torch.tensor(1.0).add_(x[0, 0]),
    ],
)
def test_a_planted_mix_of_devices_fails(mix):
    with FakeCuda():
        x = numbers(3, 4).to(CUDA, non_blocking=True)
        with pytest.raises(MixedDevicesError):
            mix(x)


def test_numbers_of_the_host_may_meet_the_device():
    with FakeCuda() as gpu:
        x = numbers(3, 4).to(CUDA, non_blocking=True)
        x = x * torch.tensor(2.0) + 1
        x[x > 3] = 0.0
        x[:, 1:] = 5
        x.new_full((2,), 3.0)
    assert not gpu.waits
    assert not gpu.copies


def test_a_tensor_of_the_device_has_no_numpy_array():
    with FakeCuda(), pytest.raises(TypeError):
        numbers(3).to(CUDA).numpy()


def test_a_module_moves():
    with FakeCuda() as gpu:
        layer = torch.nn.Linear(4, 2).to(CUDA)
        gpu.reset()
        loss = layer(numbers(3, 4).to(CUDA, non_blocking=True)).sum()
        loss.backward()
        torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9).step()
        assert layer.weight.device == layer.weight.grad.device == CUDA
    assert not gpu.waits
    assert not gpu.copies
    assert gpu.operations > 5
