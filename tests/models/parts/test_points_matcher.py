"""Which point learns which object, against the rule written as loops, and by hand."""

import math

import numpy as np
import pytest
import torch

from sodkit.models.kernels import blocks
from sodkit.models.parts import points
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.points_matcher import RangedPoints, match_points, ranged_points
from tests.fake_cuda import CUDA, FakeCuda

NONE = torch.zeros(0, 4)
STRIDES, RANGES = (8, 16, 32), ((0.0, 32.0), (32.0, 64.0), (64.0, math.inf))


def ranged(size=(96, 128)):
    return ranged_points(size, STRIDES, RANGES)


def by_loops(grid, boxes, radius):
    """Return the match of each point, by the rule as FCOS states it."""
    found = []
    for (x, y), stride, least, most in zip(
        grid.at.tolist(), grid.stride.tolist(), grid.least.tolist(), grid.most.tolist(), strict=True
    ):
        best, smallest = -1, math.inf
        for number, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            sides = (x - x1, y - y1, x2 - x, y2 - y)
            middle = ((x1 + x2) / 2, (y1 + y2) / 2)
            near = max(abs(x - middle[0]), abs(y - middle[1])) < radius * stride
            wants = min(sides) > 0 and near and least <= max(sides) <= most
            if wants and (x2 - x1) * (y2 - y1) < smallest:
                best, smallest = number, (x2 - x1) * (y2 - y1)
        found.append(best)
    return found


@pytest.mark.parametrize("cells", [2**20, 700])
@pytest.mark.parametrize("radius", [0.6, 1.5, 100.0])
def test_as_the_rule_has_it(radius, cells, monkeypatch):
    """Also in several blocks; quarters of a pixel, so that sides and ranges are met exactly."""
    monkeypatch.setattr(blocks, "CELLS", cells)
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 280, (40, 2)) / 4
    boxes = np.hstack([corner, corner + rng.integers(8, 320, (40, 2)) / 4])
    boxes[7] = boxes[3]  # of equal ones the first
    boxes = torch.tensor(boxes, dtype=torch.float32)
    grid = ranged()
    want = by_loops(grid, boxes, radius)
    assert len(set(want)) > 10
    assert match_points(grid, boxes, NONE, radius).tolist() == want


@pytest.mark.parametrize("corner", [20.0, 500.0], ids=["near", "far"])
def test_what_no_object_holds_need_not_be_compared(corner):
    """On the CPU it is left out; a device compares all."""
    boxes = corner + torch.tensor([[0.0, 0.0, 30.0, 40.0], [25.0, 12.0, 33.0, 17.0]])
    found = match_points(ranged(), boxes, NONE, 1.5)
    with FakeCuda() as gpu:
        grid = RangedPoints(*(getattr(ranged(), name).to(CUDA) for name in RangedPoints.__slots__))
        given = [tensor.to(CUDA) for tensor in (boxes, NONE)]
        gpu.reset()
        every = match_points(grid, *given, 1.5)
        assert gpu.waits.total() == 0
    assert torch.equal(found, every)
    assert (found >= 0).any() == (corner < 100)


def test_the_range_decides_the_level_at_its_ends_both():
    grid = ranged()
    level = torch.repeat_interleave(torch.arange(3), torch.tensor([192, 48, 12]))
    # about (36, 36): the farthest side is 32 from this point of the finest level
    box = torch.tensor([[32.0, 32.0, 68.0, 40.0]])
    rows = torch.nonzero(match_points(grid, box, NONE, 100.0) >= 0)[:, 0]
    found = dict(zip(map(tuple, grid.at[rows].tolist()), level[rows].tolist(), strict=True))
    assert found[36.0, 36.0] == 0
    farthest = points.distances(grid.at[rows], box).amax(1)
    assert set(farthest[level[rows] == 0].tolist()) == {32.0, 24.0, 20.0, 28.0}


def test_points_in_ignore_regions_are_neither_positive_nor_negative():
    """Whatever an object's box says; a region that holds no point changes nothing."""
    grid = ranged()
    box = torch.tensor([[20.0, 20.0, 50.0, 40.0]])
    plain = match_points(grid, box, NONE, 1.5)
    region = torch.tensor([[30.0, 0.0, 64.0, 48.0], [1.0, 1.0, 3.0, 3.0]])
    found = match_points(grid, box, region, 1.5)
    (x, y) = grid.at.unbind(1)
    inside = (x >= 30) & (x <= 64) & (y <= 48)
    assert (plain[inside] == 0).any()
    assert (plain[~inside] == 0).any()
    assert (found[inside] == IGNORED).all()
    assert torch.equal(found[~inside], plain[~inside])


def test_without_objects_all_are_negative():
    assert (match_points(ranged(), NONE, NONE, 1.5) == -1).all()
