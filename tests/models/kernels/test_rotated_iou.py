"""The torch ways of CUDA, forced on the CPU, against the compiled ones."""

import numpy as np
import pytest
import torch

from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.geometry.rotated import corners_to_obb
from sodkit.models.kernels import rotated_iou as module
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.least_rectangle import least_rectangles
from sodkit.models.kernels.rotated_iou import rotated_iou
from sodkit.models.parts import ignored, rotated_match, rotated_nms
from sodkit.models.parts.rotated_coders import canonical, enclosing


def boxes(count, seed, extent=30.0):
    rng = np.random.default_rng(seed)
    centre, angle = rng.uniform(0, extent, (count, 2)), rng.uniform(-1.6, 1.57, (count, 1))
    return np.concatenate([centre, rng.uniform(0.5, 20, (count, 2)), angle], 1)


def test_iou_of_pairs_equals_the_compiled_one(monkeypatch):
    first, second = boxes(4000, 0), boxes(4000, 1)
    second[:50] = first[:50]  # the same box
    second[50:100] = first[50:100]
    second[50:100, 2:4] /= 2  # one within the other
    second[100:150, :4] = first[100:150, :4]
    second[150:160, 2] = 0  # no area
    second[160:200, 4] = first[160:200, 4] = 0  # parallel sides
    wanted = rotated_iou_pairs(first, second)
    assert (wanted > 0).mean() > 0.3
    assert (wanted == 0).any()
    for pairs in (module.PAIRS, 1000):
        monkeypatch.setattr(module, "PAIRS", pairs)
        found = rotated_iou(torch.tensor(first), torch.tensor(second))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)
    assert len(rotated_iou(torch.zeros(0, 5), torch.zeros(0, 5))) == 0


def test_least_rectangles_equal_those_of_numpy():
    corners = np.random.default_rng(0).uniform(0, 40, (2000, 4, 2))
    corners[:20] = 3.0  # no extent
    corners[20:40, 1] = corners[20:40, 0]
    corners[40:90] = corners[40:90].round()
    found = canonical(least_rectangles(torch.tensor(corners)))
    np.testing.assert_allclose(found, corners_to_obb(corners), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("count", "objects"), [(300, 40), (5, 0), (0, 3)])
def test_best_objects_equal_those_of_the_compiled_way(count, objects, monkeypatch):
    proposals, truth = (
        torch.tensor(boxes(count, 2)).float(),
        torch.tensor(boxes(objects, 3)).float(),
    )
    proposals[: min(count, objects)] = truth[: min(count, objects)]
    wanted = rotated_match._best(proposals, truth)
    for cells in (2**20, 7 * max(1, objects)):
        monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", cells)
        best, index = rotated_match._best_of_all(proposals, truth)
        torch.testing.assert_close(best, wanted[0], rtol=0, atol=1e-6)
        overlap = wanted[0] > 0
        assert torch.equal(index[overlap], wanted[1][overlap])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tables", [rotated_nms.TABLES, 1])
def test_suppression_keeps_what_the_compiled_way_keeps(seed, tables, monkeypatch):
    monkeypatch.setattr(rotated_nms, "TABLES", tables)
    monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", 5000)
    rng = torch.Generator().manual_seed(seed)
    given = torch.tensor(boxes(250, seed)).float()
    given[-1, 2] = 0.0
    scores = torch.randint(0, 30, (250,), generator=rng) / 30  # many are equal
    groups = torch.randint(0, 3, (250,), generator=rng)
    for threshold in (0.1, 0.5):
        wanted = rotated_nms.grouped_nms_rotated(given, scores, groups, threshold)
        assert 10 < len(wanted) < 250
        every = Candidates(given, scores, groups, torch.ones(250, dtype=torch.bool))
        (found,) = rotated_nms.nms_rotated_together([every], threshold, 250)
        assert torch.equal(found, wanted)
    none = Candidates(given[:0], scores[:0], groups[:0], groups[:0] > 0)
    assert [len(rows) for rows in rotated_nms.nms_rotated_together([none, none], 0.5, 9)] == [0, 0]


@pytest.mark.parametrize("tables", [rotated_nms.TABLES, 1])
def test_suppression_in_several_images_at_once(tables, monkeypatch):
    """Those that are not usable neither suppress nor are kept; among them are boxes of NaN."""
    monkeypatch.setattr(rotated_nms, "TABLES", tables)
    monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", 2000)
    rng, images = torch.Generator().manual_seed(0), []
    for number, count in enumerate((120, 0, 1, 200)):
        given = torch.tensor(boxes(count, number)).float().reshape(-1, 5)
        usable = torch.rand(count, generator=rng) < 0.7
        given[(~usable) & (torch.rand(count, generator=rng) < 0.5)] = torch.nan
        scores = torch.randint(0, 30, (count,), generator=rng) / 30
        groups = torch.randint(0, 2, (count,), generator=rng)
        images.append(Candidates(given, scores, groups, usable))
    for limit in (5, 1000):
        wanted = rotated_nms.nms_rotated_each(images, 0.2, limit)
        found = rotated_nms.nms_rotated_together(images, 0.2, limit)
        for one, other, image in zip(found, wanted, images, strict=True):
            assert torch.equal(one, other)
            assert image.usable[one].all()
        assert len(found[0]) == limit or (limit == 1000 and 10 < len(found[0]) < 80)


def one_after_the_other(usable, better, other, above):
    kept = usable.tolist()
    for first, second, much in sorted(zip(better, other, above, strict=True)):
        if kept[first] and much:
            kept[second] = False
    return kept


@pytest.mark.parametrize("rounds", [1, 3, rotated_nms.ROUNDS])
@pytest.mark.parametrize("seed", range(6))
def test_the_greedy_choice_in_rounds_is_that_of_one_after_the_other(rounds, seed, monkeypatch):
    monkeypatch.setattr(rotated_nms, "ROUNDS", rounds)
    rng = torch.Generator().manual_seed(seed)
    count = 150
    ends = torch.randint(0, count, (seed * 60, 2), generator=rng).sort(1).values
    better, other = ends[ends[:, 0] < ends[:, 1]].unbind(1)
    above = torch.rand(len(better), generator=rng) < 0.8
    usable = torch.rand(count, generator=rng) < 0.9
    found = rotated_nms.chosen(usable, better, other, above)
    wanted = one_after_the_other(usable, better.tolist(), other.tolist(), above.tolist())
    assert found.tolist() == wanted


def test_a_long_chain_of_suppressions_ends():
    """Each box suppresses the next one: every second stays, found out from the first on."""
    number = torch.arange(500)
    every = torch.ones(499, dtype=torch.bool)
    found = rotated_nms.chosen(torch.ones(500, dtype=torch.bool), number[:-1], number[1:], every)
    assert found.tolist() == [True, False] * 250


@pytest.mark.parametrize("oriented", [True, False])
def test_what_is_ignored_equals_the_compiled_way(oriented, monkeypatch):
    regions, given = torch.tensor(boxes(30, 4)).float(), torch.tensor(boxes(400, 5)).float()
    regions[:5, 4] = 0.0  # upright
    given[:, 2:4] /= 3
    given = given if oriented else enclosing(given)
    wanted = ignored.inside(given, regions)
    assert 20 < wanted.sum() < 390
    none, few = regions[:0], given[:20]
    for cells in (2**20, 900):
        monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", cells)
        found = ignored.inside_together([given, given, few], [regions, none, regions])
        assert torch.equal(found[0], wanted)
        assert not found[1].any()
        assert torch.equal(found[2], wanted[:20])
    assert torch.equal(ignored.inside(given, wanted), wanted)
