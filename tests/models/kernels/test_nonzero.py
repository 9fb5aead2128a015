import pytest
import torch

from sodkit.models.kernels.nonzero import nonzero_counted, nonzero_each, rows_each
from tests.fake_cuda import CUDA, FakeCuda

SHAPES = [(0,), (1,), (7,), (5, 3), (0, 4), (2, 3, 4)]


def masks():
    rng = torch.Generator().manual_seed(0)
    some = [torch.rand(shape, generator=rng) < 0.5 for shape in SHAPES]
    return [*some, torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)]


@pytest.mark.parametrize("each", [nonzero_each, nonzero_counted])
def test_every_mask_has_its_own_indices(each):
    for found, mask in zip(each(masks()), masks(), strict=True):
        assert torch.equal(found, torch.nonzero(mask))


def test_rows_are_of_one_dimension():
    assert [rows.tolist() for rows in rows_each([torch.tensor([False, True, True])])] == [[1, 2]]
    assert rows_each([]) == []


def test_a_device_is_waited_for_once():
    with FakeCuda() as gpu:
        given = [mask.to(CUDA) for mask in masks()]
        gpu.reset()
        found = nonzero_each(given)
        assert all(rows.is_cuda for rows in found)
        assert gpu.waits.total() == 1
