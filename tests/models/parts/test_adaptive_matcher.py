"""Which anchor learns which object, against ATSS' algorithm written as loops, and by hand."""

import math

import numpy as np
import pytest
import shapely
import torch
from torchvision.ops import box_iou

from sodkit.models.kernels import blocks
from sodkit.models.parts import anchors, rotated_coders
from sodkit.models.parts.adaptive_matcher import (
    _nearest,
    _nearest_about,
    _smallest,
    match_adaptive,
    nearest_of_all,
)
from sodkit.models.parts.matchers import IGNORED
from sodkit.settings.anchor_levels import levels

NONE = torch.zeros(0, 4)
LEVELS = levels((8, 16, 32), (2.0,), (1.0,))


def grids(size=(96, 128)):
    return anchors.grid(size, LEVELS)


def matched(grid, boxes, ignore=NONE, count=9, absent=None, oriented=None):
    every = torch.cat(grid)
    absent = torch.zeros(len(every), dtype=torch.bool) if absent is None else absent
    sizes = [len(g) for g in grid]
    return match_adaptive(every, sizes, boxes, ignore, count, absent, oriented)


def by_loops(grid, boxes, count, iou=None):
    """Return the match of each anchor, by Algorithm 1 of the paper; ``iou`` (G, N) if given."""
    every = torch.cat(grid).double()
    iou = box_iou(boxes.double(), every).numpy() if iou is None else iou
    centre = ((every[:, :2] + every[:, 2:]) / 2).numpy()
    best, gt = np.full(len(every), -1.0), np.full(len(every), -1)
    for number, box in enumerate(boxes.double().numpy()):
        apart = ((centre - (box[:2] + box[2:]) / 2) ** 2).sum(1)
        nearest, first = [], 0
        for level in grid:
            order = np.argsort(apart[first : first + len(level)], kind="stable")
            nearest.extend(order[:count] + first)
            first += len(level)
        threshold = iou[number, nearest].mean() + iou[number, nearest].std(ddof=1)
        for anchor in nearest:
            inner = min(*(centre[anchor] - box[:2]), *(box[2:] - centre[anchor])) > 0.01
            if iou[number, anchor] >= threshold and inner and iou[number, anchor] > best[anchor]:
                best[anchor], gt[anchor] = iou[number, anchor], number
    return gt.tolist()


def some(count=40):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 70, (count, 2))
    boxes = np.hstack([corner, corner + rng.uniform(4, 50, (count, 2))])
    boxes[7] = boxes[3]  # of equal ones the first
    return torch.tensor(boxes, dtype=torch.float32)


@pytest.mark.parametrize("cells", [2**20, 700])
@pytest.mark.parametrize("count", [3, 9, 20])  # the coarsest level has 12 anchors
def test_as_the_algorithm_has_it(count, cells, monkeypatch):
    monkeypatch.setattr(blocks, "CELLS", cells)
    want = by_loops(grids(), some(), count)
    assert len(set(want)) > 10
    assert matched(grids(), some(), count=count).tolist() == want


@pytest.mark.parametrize("count", [3, 9])
def test_oriented_objects_by_the_iou_of_polygons(count):
    rng = np.random.default_rng(1)
    boxes = np.c_[
        rng.uniform(10, 90, (40, 2)), rng.uniform(14, 50, 40), rng.uniform(4, 14, 40),
        rng.uniform(-1.5, 1.5, 40),
    ]  # fmt: skip
    oriented = torch.tensor(boxes, dtype=torch.float32)
    things = shapely.polygons(rotated_coders.corners(oriented.double()).numpy())
    squares = shapely.box(*torch.cat(grids()).double().numpy().T)
    shared = shapely.area(shapely.intersection(things[:, None], squares))
    iou = shared / (shapely.area(things)[:, None] + shapely.area(squares) - shared)
    around = rotated_coders.enclosing(oriented)
    wanted = by_loops(grids(), around, count, iou)
    assert matched(grids(), around, count=count, oriented=oriented).tolist() == wanted
    assert matched(grids(), around, count=count).tolist() != wanted


def test_a_tilted_region_hides_no_anchors_beside_it():
    region = torch.tensor([[64.0, 48.0, 120.0, 20.0, 0.7]])
    centre = torch.cat(grids()[:1])[:, :2] + 8
    across = (centre[:, 1] - 48) * math.cos(0.7) - (centre[:, 0] - 64) * math.sin(0.7)
    along = (centre[:, 0] - 64) * math.cos(0.7) + (centre[:, 1] - 48) * math.sin(0.7)
    oriented = torch.tensor([[64.0, 48.0, 30.0, 12.0, 0.2]])
    found = matched(grids(), rotated_coders.enclosing(oriented), region, oriented=oriented)[
        : len(centre)
    ]
    assert (found[(across.abs() < 6) & (along.abs() < 50)] == IGNORED).all()
    beside = (across.abs() > 20) & (along.abs() < 30)
    assert beside.sum() > 10
    assert (found[beside] != IGNORED).all()


def test_an_object_that_holds_no_centre_stays_without_an_anchor():
    box = torch.tensor([[33.0, 33.0, 39.0, 39.0]])
    assert (matched(grids(), box) == -1).all()
    assert (matched(grids(), box - 3) == 0).sum() == 1  # about the centre at (32, 32)


def test_anchors_in_ignore_regions_are_neither_positive_nor_negative():
    box = torch.tensor([[20.0, 20.0, 50.0, 40.0]])
    plain = matched(grids(), box)
    region = torch.tensor([[36.0, 0.0, 90.0, 70.0]])
    found = matched(grids(), box, region)
    every = torch.cat(grids())
    low, high = torch.maximum(every[:, :2], region[:, :2]), torch.minimum(every, region)[:, 2:]
    inside = (high - low).clamp(min=0).prod(1) > (every[:, 2:] - every[:, :2]).prod(1) / 2
    assert (plain[inside] == 0).any()
    assert (found[inside] == IGNORED).all()
    assert (found[~inside] >= -1).all()
    assert (found[~inside] == 0).any()


def test_absent_anchors_are_no_candidates():
    """As if the grid were without them: others come in their place."""
    every = torch.cat(grids())
    absent = every[:, 0] + every[:, 2] >= 2 * 96
    small = grids((96, 96))
    boxes = some()
    boxes[:, 0::2] = boxes[:, 0::2].clamp(max=110)
    found = matched(grids(), boxes, absent=absent)
    assert (found[absent] == IGNORED).all()
    assert torch.equal(found[~absent], matched(small, boxes))


def test_without_a_candidate_or_an_object_there_are_no_positives():
    every = torch.cat(grids())
    everywhere = torch.tensor([[-50.0, -50.0, 500.0, 500.0]])
    assert (matched(grids(), some(), everywhere) == IGNORED).all()
    assert (matched(grids(), NONE) == -1).all()
    one = torch.ones(len(every), dtype=torch.bool)
    one[20] = False  # a threshold of a single candidate is that candidate's IoU
    centre = (every[20, :2] + every[20, 2:]) / 2
    box = torch.cat([centre - 5, centre + 5])[None]
    assert torch.nonzero(matched(grids(), box, absent=one) == 0).tolist() == [[20]]


def test_of_equal_distances_the_first_anchors_are_taken():
    values = torch.tensor([[4.0, 1.0, 4.0, 0.0, 4.0, torch.inf, 1.0]])
    assert _smallest(values, 4).tolist() == [[3, 1, 6, 0]]
    assert _smallest(values, 7).tolist() == [[3, 1, 6, 0, 2, 4, 5]]


@pytest.mark.parametrize("count", [1, 9, 20])
def test_the_points_about_an_object_are_the_nearest_of_all(count):
    """Also at the border, beside points that are out, and where hardly any is left."""
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(40.0), indexing="ij")
    at = 4 * torch.stack([columns.flatten(), rows.flatten()], 1) + 2
    generator = torch.Generator().manual_seed(count)
    middle = (4 * 170 * torch.rand(300, 2, generator=generator)).round() / 4 - 10
    middle[0] = torch.tensor([2000.0, 50.0])
    padding = at[:, 0] > 130
    hole = ((at - 60).abs() < 25).all(1)
    for out, some in ((padding | hole, True), (torch.arange(len(at)) != 700, False)):
        found = _nearest(at, out, middle, count)
        assert torch.equal(found, nearest_of_all(at, out, middle, count))
        sure = _nearest_about(at, out, middle, count)[1]
        assert sure.any() == (some or count == 1)
        assert not sure.all()
