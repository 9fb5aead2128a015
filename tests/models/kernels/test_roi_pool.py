import pytest
import torch

from sodkit.models.kernels import roi_pool
from sodkit.models.kernels.roi_pool import align_gather, align_torchvision

STRIDES = (4, 8, 16, 32)


def boxes(count, generator):
    """Return boxes in cells of a 20 x 30 map: small, large, long, beyond the map, empty."""
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([34.0, 24.0]) - 2
    side = torch.rand(count, 2, generator=generator).pow(3) * 25 + 0.1
    found = torch.cat([corner, corner + side], 1)
    found[0] = torch.tensor([0.0, 0.0, 30.0, 20.0])
    found[1] = torch.tensor([5.0, 5.0, 5.0, 9.0])
    found[2] = torch.tensor([-9.0, -9.0, 45.0, 35.0])
    found[3] = torch.tensor([100.0, 100.0, 120.0, 120.0])
    return found


@pytest.mark.parametrize(("size", "samples"), [(7, 0), (3, 0), (7, 2), (4, 3)])
def test_gathering_is_roi_align(size, samples):
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(2, 8, 20, 30, generator=generator)
    rois = boxes(60, generator)
    image = torch.arange(60) % 2
    results = []
    for align in (align_gather, align_torchvision):
        x = feature.clone().requires_grad_()
        output = align(x, rois, image, size, samples)
        (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
        results.append((output.detach(), x.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_fixed_number_of_samples_differs_from_one_a_cell():
    feature = torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(0))
    rois, image = torch.tensor([[0.0, 0.0, 40.0, 40.0]]), torch.zeros(1, dtype=torch.int64)
    fixed, dense = (align_gather(feature, rois, image, 7, samples) for samples in (2, 0))
    assert (fixed - dense).abs().max() > 0.1


def test_levels():
    sides = torch.tensor([1.0, 111.9, 112.1, 223.9, 224.1, 448.1, 5000.0])
    square = torch.stack([torch.zeros(7), torch.zeros(7), sides, sides], 1)
    assert roi_pool.levels(square, 4).tolist() == [0, 0, 1, 1, 2, 3, 3]


def test_every_box_keeps_its_place():
    pyramid = [torch.full((1, 2, 64 // 2**i, 64 // 2**i), float(i)) for i in range(4)]
    sides = torch.tensor([230.0, 20.0, 120.0, 20.0])
    square = torch.stack([torch.zeros(4), torch.zeros(4), sides, sides], 1)
    found = roi_pool.pool(pyramid, square, torch.zeros(4, dtype=torch.int64), STRIDES, 7)
    assert found.shape == (4, 2, 7, 7)
    torch.testing.assert_close(found[:, 0, 3, 3], torch.tensor([2.0, 0.0, 1.0, 0.0]))


def test_no_boxes():
    pyramid = [torch.zeros(1, 2, 8, 8)] * 4
    none = torch.zeros(0, dtype=torch.int64)
    assert roi_pool.pool(pyramid, torch.zeros(0, 4), none, STRIDES, 7).shape == (0, 2, 7, 7)


@pytest.mark.parametrize("samples", [0, 2])
def test_shapes_that_no_box_decides_give_the_same_numbers(samples):
    pyramid = [torch.randn(2, 3, 64 >> level, 64 >> level) for level in range(4)]
    corner = torch.rand(40, 2) * 200
    boxes = torch.cat([corner, corner + torch.rand(40, 2) ** 4 * 300 + 1], 1)
    image, strides = torch.arange(40) % 2, (4, 8, 16, 32)
    assert len(set(roi_pool.levels(boxes, 4).tolist())) > 1
    want = roi_pool.pool(pyramid, boxes, image, strides, 3, samples)
    found = roi_pool.pool_fixed(pyramid, boxes, image, strides, 3, samples)
    torch.testing.assert_close(found, want, atol=1e-4, rtol=0)
