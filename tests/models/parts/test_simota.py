"""SimOTA against a slow reading of its rule, cell by cell."""

import math

import model_golden as golden
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sodkit.models import yolox
from sodkit.models.parts import simota
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.box_iou import every_iou
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.simota import Predicted
from sodkit.settings.yolox import SimOta

CLASSES = 4


def predictions(grid, seed):
    generator = torch.Generator().manual_seed(seed)
    count = len(grid.stride)
    deltas = torch.randn(count, 4, generator=generator) * 0.7 + torch.tensor([0.5, 0.5, 0.8, 0.8])
    logits = torch.randn(count, CLASSES, generator=generator) * 3
    objectness = torch.randn(count, generator=generator) * 3
    return Predicted(yolox.decode(grid, deltas), logits, objectness)


def crowd(seed, count):
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 80, (count, 2)), rng.uniform(3, 40, (count, 2))
    boxes = np.concatenate([corner, corner + side], 1)
    return golden.target(boxes.tolist(), rng.integers(0, CLASSES, count).tolist())


def slow(grid, predicted, target, ignored, config):
    """Return the match (N,), by loops."""
    count = len(grid.stride)
    costs, wanted = {}, {}
    iou = every_iou(target.boxes, predicted.boxes)
    for cell in range(count):
        flags = []
        (x, y), reach = grid.middle[cell].tolist(), config.radius * float(grid.stride[cell])
        for x1, y1, x2, y2 in target.boxes.tolist():
            near = abs(x - (x1 + x2) / 2) < reach and abs(y - (y1 + y2) / 2) < reach
            flags.append((x1 < x < x2 and y1 < y < y2, near))
        if ignored[cell] or not any(map(any, flags)):
            continue
        score = (predicted.logits[cell].sigmoid() * predicted.objectness[cell].sigmoid()).sqrt()
        for g, label in enumerate(target.labels):
            entropy = F.binary_cross_entropy(score, F.one_hot(label, CLASSES).float())
            cost = entropy.item() * CLASSES - config.iou_weight * math.log(iou[g, cell] + 1e-7)
            costs[cell, g] = cost + 1e5 * (not all(flags[g]))
    cells = sorted({cell for cell, _ in costs})
    for g in range(len(target.boxes)):
        best = sorted((iou[g, cell].item() for cell in cells), reverse=True)
        number = max(1, int(sum(best[: config.candidates])))
        for cell in sorted(cells, key=lambda cell: costs[cell, g])[:number]:
            wanted.setdefault(cell, []).append(g)
    match = [IGNORED if out else NEGATIVE for out in ignored.tolist()]
    for cell, takers in wanted.items():
        every = range(len(target.boxes))
        several = len(takers) > 1
        match[cell] = min(every, key=lambda g: costs[cell, g]) if several else takers[0]
    return match


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("candidates", [1, 10])
def test_matches_are_those_of_loops(seed, candidates):
    grid, config = yolox.cells((96, 96)), SimOta(candidates=candidates)
    predicted, target = predictions(grid, seed), crowd(seed, 9)
    ignored = torch.rand(len(grid.stride), generator=torch.Generator().manual_seed(seed)) < 0.3
    (match,) = simota.match_each(grid, [predicted], [target], [ignored], config)
    assert match.tolist() == slow(grid, predicted, target, ignored, config)
    assert 3 < (match >= 0).sum() < 60
    assert (match == IGNORED).sum() == ignored.sum()


def test_many_objects_are_taken_in_blocks(monkeypatch):
    grid = yolox.cells((96, 96))
    given = ([predictions(grid, 5)], [crowd(5, 40)], [torch.zeros(len(grid.stride)) > 0])
    (whole,) = simota.match_each(grid, *given, SimOta())
    monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", 500)
    (parts,) = simota.match_each(grid, *given, SimOta())
    assert torch.equal(whole, parts)
    assert len(whole.unique()) > 20


def test_each_image_is_matched_by_itself():
    grid, none = yolox.cells((64, 64)), torch.zeros(84, dtype=torch.bool)
    predicted = [predictions(grid, seed) for seed in (1, 2, 3)]
    targets = [crowd(1, 3), golden.target([]), crowd(3, 5)]
    together = simota.match_each(grid, predicted, targets, [none] * 3, SimOta())
    for number, match in enumerate(together):
        rows = slice(number, number + 1)
        (alone,) = simota.match_each(grid, predicted[rows], targets[rows], [none], SimOta())
        assert torch.equal(match, alone)
    assert (together[1] == NEGATIVE).all()


def test_an_object_without_a_cell_in_reach_gets_none():
    """All cells near it are ignored, or it lies beyond the image."""
    grid = yolox.cells((64, 64))
    target = golden.target([[8, 8, 14, 14], [500, 500, 510, 510]])
    ignored = (grid.middle < 60).all(1) & (grid.stride < 32) | (grid.stride == 32)
    ignored &= ~(grid.middle > 50).all(1)
    (match,) = simota.match_each(grid, [predictions(grid, 0)], [target], [ignored], SimOta())
    assert (match < 0).all()
    assert (match == NEGATIVE).any()
