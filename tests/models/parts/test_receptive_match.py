"""RFLA's assignment against slow loops, with ties, crowds and ignore regions."""

import math

import pytest
import torch

from sodkit.models.parts import anchors, receptive_match
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.receptive_match import closeness, match_receptive, shrink
from sodkit.settings.proposers import ReceptiveMatching, Rfla
from tests.fake_cuda import CUDA, FakeCuda

LEVELS = Rfla().anchor_levels((4, 8, 16))
GRID = torch.cat(anchors.grid((96, 128), LEVELS))
NOTHING = torch.zeros(0, 4)
RULE = ReceptiveMatching()
METRICS = ["kld", "wasserstein", "exp-kld"]


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def crowd(count, seed=0):
    """Return objects on a grid of quarter pixels, so that many priors are equally near."""
    rng = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=rng) * torch.tensor([100.0, 70.0])
    return (
        4 * torch.cat([corner, corner + 2 + 20 * torch.rand(count, 2, generator=rng)], 1)
    ).round() / 4


def slow_score(metric, prior, box):
    """Return the closeness of two boxes, number by number."""
    (px, py, pw, ph), (gx, gy, gw, gh) = (
        ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1) for x1, y1, x2, y2 in (prior, box)
    )
    if metric == "wasserstein":
        square = (px - gx) ** 2 + (py - gy) ** 2 + ((pw - gw) ** 2 + (ph - gh) ** 2) / 4
        return 1 / (1 + square)
    shift = 4 * ((px - gx) ** 2 / gw**2 + (py - gy) ** 2 / gh**2)
    kl = pw**2 / gw**2 + ph**2 / gh**2 + shift - 2
    kl = (kl + math.log(gw**2 / pw**2) + math.log(gh**2 / ph**2)) / 2
    return math.exp(-kl / 10) if metric == "exp-kld" else 1 / (1 + kl)


@pytest.mark.parametrize("metric", METRICS)
def test_closeness(metric):
    priors, objects = crowd(20, 1), crowd(7, 2)
    found = closeness(metric, priors, objects)
    want = [[slow_score(metric, p, o) for p in priors.tolist()] for o in objects.tolist()]
    torch.testing.assert_close(found, torch.tensor(want), rtol=1e-4, atol=1e-7)
    assert closeness(metric, priors, priors).diagonal() == pytest.approx(torch.ones(20), abs=1e-5)


def slow_match(priors, objects, ignored, rule):
    """Assign object by object and rank by rank, as the original does."""
    rounds = []
    for shape, count in (
        (priors, rule.nearest),
        (shrink(priors, rule.shrink), rule.nearest_shrunk),
    ):
        score = closeness(rule.metric, shape, objects)
        gt = [NEGATIVE] * len(priors)
        for number, row in enumerate(score.masked_fill(ignored, -1)):
            for value in row.sort(descending=True).values[:count].tolist():
                for place in torch.nonzero(row == value)[:, 0].tolist():
                    gt[place] = number
        rounds.append((gt, score.amax(0).tolist() if len(objects) else [0.0] * len(priors)))
    (first, _), (second, best) = rounds
    merged = [a if a >= 0 else b for a, b in zip(first, second, strict=True)]
    free = [
        IGNORED if g < 0 and b >= rule.negative else g for g, b in zip(merged, best, strict=True)
    ]
    return [IGNORED if i else g for g, i in zip(free, ignored.tolist(), strict=True)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [0, 1, 60])
def test_as_loops_assign(metric, count):
    objects, region = crowd(count), boxes([20, 20, 50, 60])
    rule = RULE.model_copy(update={"metric": metric})
    found = match_receptive(GRID, objects, region, rule)
    ignored = receptive_match.inside(GRID, region)
    assert found.tolist() == slow_match(GRID, objects, ignored, rule)
    assert (found[ignored] == IGNORED).all()
    assert len(found[found >= 0].unique()) >= 0.6 * count


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_far_need_not_be_compared(metric):
    """On the CPU it is left out; a device compares all."""
    far = boxes([400, 400, 401, 401], [-90, 10, -50, 30], [61.9, 61.9, 62.1, 62.1])
    objects, region = torch.cat([crowd(60), far]), boxes([20, 20, 50, 60])
    rule = RULE.model_copy(update={"metric": metric})
    found = match_receptive(GRID, objects, region, rule)
    with FakeCuda() as gpu:
        given = [tensor.to(CUDA) for tensor in (GRID, objects, region)]
        gpu.reset()
        every = match_receptive(*given, rule)
        assert gpu.waits.total() == 0
    assert torch.equal(found, every)


def test_equally_near_priors_are_all_taken():
    """In the middle of four locations; a square object is as near to lying as to standing ones."""
    level = torch.cat(anchors.grid((32, 32), Rfla(ratios=(0.5, 2.0)).anchor_levels((4,))))
    rule = RULE.model_copy(update={"nearest": 1})
    gt = match_receptive(level, boxes([9, 9, 19, 19]), NOTHING, rule)
    assert (gt == 0).sum() == 8


def test_of_several_objects_the_last_has_the_prior():
    one = [40.0, 40.0, 46.0, 46.0]
    gt = match_receptive(GRID, boxes(one, one), NOTHING, RULE)
    assert set(gt[gt >= 0].tolist()) == {1}


def test_a_speck_far_from_every_prior_is_not_left_out():
    gt = match_receptive(GRID, boxes([61.9, 61.9, 62.1, 62.1], [400, 400, 401, 401]), NOTHING, RULE)
    assert set(gt[gt >= 0].tolist()) == {0, 1}


def test_a_near_prior_is_no_negative():
    prior = GRID[len(GRID) // 2]
    gt = match_receptive(GRID, prior[None].repeat(1, 1), NOTHING, RULE)
    assert (gt == IGNORED).sum() > 0
    closest = closeness("kld", shrink(GRID, 0.9), prior[None])[0]
    assert (closest[gt == IGNORED] >= 0.8).all()
    assert (closest[gt == NEGATIVE] < 0.8).all()


@pytest.mark.parametrize("metric", METRICS)
def test_a_prior_in_a_region_is_neither_positive_nor_negative(metric):
    """Its object takes the nearest of the others."""
    one, region = boxes([40, 40, 46, 46]), boxes([24, 24, 62, 62])
    rule = RULE.model_copy(update={"metric": metric})
    inside = receptive_match.inside(GRID, region)
    without, found = (match_receptive(GRID, one, r, rule) for r in (NOTHING, region))
    assert (without[inside] >= 0).any()
    assert (found[inside] == IGNORED).all()
    assert (found >= 0).sum() >= 3


def test_all_in_a_region():
    gt = match_receptive(GRID, boxes([40, 40, 46, 46]), boxes([-500, -500, 900, 900]), RULE)
    assert (gt == IGNORED).all()


def test_in_blocks_or_at_once(monkeypatch):
    objects = crowd(60)
    at_once = match_receptive(GRID, objects, NOTHING, RULE)
    monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", 3 * len(GRID))
    assert torch.equal(match_receptive(GRID, objects, NOTHING, RULE), at_once)


def test_shrunk_about_the_centre():
    torch.testing.assert_close(shrink(boxes([10, 20, 30, 60]), 0.9), boxes([11, 22, 29, 58]))


def test_priors_are_halves_of_the_receptive_fields():
    sizes = [level.sizes[1] for level in Rfla().anchor_levels((4, 8, 16, 32, 64))]
    assert sizes == [(s, s) for s in (17.5, 45.5, 133.5, 213.5, 277.5)]
    assert len(Rfla().anchor_levels((4, 8, 16, 32))) == 4
