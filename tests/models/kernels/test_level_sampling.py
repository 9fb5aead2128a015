import pytest
import torch
from torch.nn import functional as F

from sodkit.models.kernels import level_sampling
from sodkit.models.kernels.level_sampling import sample_levels_gather, sample_levels_grid
from tests.fake_cuda import CUDA, FakeCuda

SHAPES = ((5, 7), (3, 4), (1, 1))


def case(heads=2, queries=6, points=3, depth=4, spread=4.0):
    """Return values, places and weights of two images; many places lie outside of the levels."""
    rng = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(2, *shape, generator=rng)

    count = sum(rows * columns for rows, columns in SHAPES)
    levels = len(SHAPES)
    places = 2 + spread * drawn(queries, heads, levels, points, 2)
    weights = drawn(queries, heads, levels * points).softmax(-1)
    return drawn(count, heads, depth), places, weights.reshape(places.shape[:-1])


def slowly(values, places, weights):
    """Return the sums sample by sample, each from the four cells about its place."""
    result = torch.zeros(*places.shape[:3], values.shape[-1])
    firsts = [0, 35, 47]
    for at in torch.cartesian_prod(*map(torch.arange, places.shape[:-1])).tolist():
        image, query, head, level, _ = at
        (rows, columns), (x, y) = SHAPES[level], places[tuple(at)].tolist()
        for row in range(rows):
            for column in range(columns):
                share = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
                cell = values[image, firsts[level] + row * columns + column, head]
                result[image, query, head] += weights[tuple(at)] * share * cell
    return result


def gradients(function, values, places, weights):
    leaves = [x.clone().requires_grad_() for x in (values, places, weights)]
    output = function(leaves[0], SHAPES, leaves[1], leaves[2])
    (output * torch.linspace(-1, 1, output.numel()).reshape(output.shape)).sum().backward()
    return output.detach(), *(x.grad for x in leaves)


@pytest.mark.parametrize("function", [sample_levels_gather, sample_levels_grid])
def test_each_sum_is_that_of_its_samples(function):
    values, places, weights = case()
    found = function(values, SHAPES, places, weights)
    torch.testing.assert_close(found, slowly(values, places, weights), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("entries", [1 << 30, 100, 1])
def test_gathering_has_the_gradients_of_grid_sampling(entries, monkeypatch):
    """Of values, places and weights, in blocks of any number of queries."""
    monkeypatch.setattr(level_sampling, "_ENTRIES", entries)
    given = case(queries=9)
    ours, theirs = (gradients(f, *given) for f in (sample_levels_gather, sample_levels_grid))
    for have, want in zip(ours, theirs, strict=True):
        torch.testing.assert_close(have, want, atol=1e-4, rtol=1e-4)


def test_gradients_are_exact():
    # places between cells, where the sums are smooth
    values, places, weights = (x.double() for x in case(heads=1, queries=1, points=1, depth=2))
    places = places.floor() + 0.2 + 0.6 * (places - places.floor())
    leaves = [x.requires_grad_() for x in (values, places, weights)]

    def summed(values, places, weights):
        return sample_levels_gather(values, SHAPES, places, weights)

    assert torch.autograd.gradcheck(summed, leaves)


def test_a_place_that_is_no_number_makes_its_sum_none():
    values, places, weights = case()
    places[0, 1, 0, 0, 0, 0] = torch.nan
    found = sample_levels_gather(values, SHAPES, places, weights)
    assert found[0, 1, 0].isnan().all()
    assert int(found.isnan().any(-1).sum()) == 1


def test_in_bfloat16_the_places_stay_exact():
    # of a steep level a place in bfloat16 would miss by whole cells
    values = torch.arange(512.0)[None, :, None, None]
    places = torch.full((1, 1, 1, 1, 1, 2), 300.5) * torch.tensor([1.0, 0.0])
    found = level_sampling.sample_levels(
        values.bfloat16(), ((1, 512),), places, torch.ones(1, 1, 1, 1, 1)
    )
    assert found.dtype == torch.bfloat16
    assert abs(found.item() - 300.5) <= 1


def test_on_a_device_nothing_is_waited_for():
    given = case()
    want = gradients(sample_levels_grid, *given)[0]
    with FakeCuda() as gpu:
        values, places, weights = (x.to(CUDA).requires_grad_() for x in given)
        gpu.reset()
        found = level_sampling.sample_levels(values, SHAPES, places, weights)
        found.square().sum().backward()
        assert not gpu.copies
        assert gpu.waits.total() == 0
    torch.testing.assert_close(found, want)


def test_one_level_is_grid_sampling():
    values, places, weights = case(heads=1, points=1)
    one = values[:, :35], places[:, :, :, :1], torch.ones_like(weights[:, :, :, :1])
    grid = (2 * one[1][:, :, 0, 0] + 1) / torch.tensor([7.0, 5.0]) - 1
    maps = one[0][:, :, 0].transpose(1, 2).reshape(2, -1, 5, 7)
    want = F.grid_sample(maps, grid, align_corners=False)[..., 0].transpose(1, 2)
    torch.testing.assert_close(sample_levels_gather(one[0], SHAPES[:1], *one[1:])[:, :, 0], want)
