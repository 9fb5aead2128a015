"""Quality and selection of point sets against slow ones, by loops and shapely."""

import math

import numpy as np
import pytest
import shapely
import torch
from torch.nn import functional as F

from sodkit.geometry.rotated import corners_to_obb, obb_to_corners
from sodkit.models.parts import point_quality
from sodkit.models.parts.point_quality import Assessed, FeatureTable, quality, select, unlike
from sodkit.settings.dense import FocalLoss
from sodkit.settings.rotated_points import PointQuality
from tests.fake_cuda import CUDA, FakeCuda

STRIDES = (4, 8)
SHAPES = ((16, 24), (8, 12))
FOCAL, CONFIG = FocalLoss(), PointQuality()


def pyramid():
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(2, 5, *shape, generator=rng) for shape in SHAPES]


def some(count=40, objects=5, seed=0):
    """Return candidates of two images, some of whose points lie beyond the maps."""
    rng = np.random.default_rng(seed)
    box = np.c_[
        rng.uniform(0, 60, (count, 2)),
        rng.uniform(6, 30, (count, 2)),
        rng.uniform(-1.5, 1.5, count),
    ]
    spread = rng.uniform(2, 9, (2, count, 1, 1))
    points = box[:, None, :2] + spread * rng.normal(size=(2, count, 9, 2))
    whole = (rng.integers(0, limit, count) for limit in (2, 2, objects, 3))
    image, level, own, labels = (torch.tensor(each) for each in whole)
    logits = torch.tensor(rng.normal(size=(count, 3))).float()
    initial, refined = torch.tensor(points).float()
    return Assessed(image, level, own, logits, labels, initial, refined, torch.tensor(box).float())


def bilinear(level, stride, x, y):
    """Return the feature at a place: cells are centred half a stride from the map's edge."""
    total = np.zeros(level.shape[0])
    x, y = x / stride - 0.5, y / stride - 0.5
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < level.shape[1] and 0 <= column < level.shape[2]:
                share = (1 - abs(x - column)) * (1 - abs(y - row))
                total += share * level[:, row, column]
    return total


def slow_giou(points, box):
    hull = shapely.convex_hull(shapely.multipoints(points))
    other = shapely.polygons(obb_to_corners(box[None])[0])
    union = hull.union(other)
    around = shapely.convex_hull(union).area
    return hull.intersection(other).area / union.area - (around - union.area) / around


def slow_sides(box):
    corners = obb_to_corners(box[None])[0]
    steps = [
        a + share * (b - a)
        for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)
        for share in np.arange(10) / 9
    ]
    return np.array(steps)


def slow_between(points, box):
    own, other = slow_sides(corners_to_obb(points[None])[0]), slow_sides(box)
    distance = np.linalg.norm(own[:, None] - other, axis=2)
    return 0.05 * (distance.min(0).mean() + distance.min(1).mean()) / 2


def slow_quality(sets, levels, row):
    logits, label = sets.logits[row].double().numpy(), int(sets.labels[row])
    p = 1 / (1 + np.exp(-logits))
    is_it = np.arange(len(p)) == label
    focal = np.where(is_it, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log(1 - p)).sum()
    box = sets.boxes[row].double().numpy()
    found = focal
    for weight, of in ((0.2, sets.initial), (0.8, sets.refined)):
        points = of[row].double().numpy()
        found += weight * (1 - slow_giou(points, box) + 0.3 * slow_between(points, box))
    level = int(sets.level[row])
    each = levels[level][int(sets.image[row])].double().numpy()
    features = np.array([
        bilinear(each, STRIDES[level], *point) for point in sets.refined[row].double().numpy()
    ])  # fmt: skip
    mean = features.mean(0)
    lengths = np.maximum(np.linalg.norm(features, axis=1), 0.01)
    cosines = features @ mean / (lengths * max(np.linalg.norm(mean), 0.01))
    return found + 0.1 * (1 - cosines).max()


@pytest.mark.parametrize("rows", [2**11, 7])
def test_quality_is_that_of_loops_and_shapely(monkeypatch, rows):
    monkeypatch.setattr(point_quality, "ROWS", rows)
    sets, levels = some(), pyramid()
    found = quality(sets, levels, STRIDES, CONFIG, FOCAL)
    wanted = [slow_quality(sets, levels, row) for row in range(len(sets.image))]
    gap = np.abs(found.numpy() - wanted)
    # of equal least rectangles another may be taken, whose sides are elsewhere
    assert (gap < 1e-4).mean() > 0.8
    assert gap.max() < 0.1
    assert np.ptp(wanted) > 1


def test_features_are_those_of_grid_sample():
    sets, levels = some(), pyramid()
    found = FeatureTable.of(levels, STRIDES).at(sets.image, sets.level, sets.refined)
    for row in range(len(sets.image)):
        level = int(sets.level[row])
        height, width = (side * STRIDES[level] for side in SHAPES[level])
        place = 2 * sets.refined[row] / torch.tensor([width, height]) - 1
        one = levels[level][sets.image[row]][None]
        wanted = F.grid_sample(one, place[None, None], align_corners=False)[0, :, 0].T
        torch.testing.assert_close(found[row], wanted, atol=1e-4, rtol=0)


def test_equal_features_are_alike_and_none_is_compared_with_zeros():
    same = torch.ones(1, 9, 4)
    other = same.clone()
    other[0, 3] *= -1
    found = unlike(torch.cat([same, 5 * same, other, 0 * same]))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, 2.0, 1.0]))


def slow_select(sets, ranked):
    """Select object by object, level by level."""
    chosen = torch.zeros(len(ranked), dtype=torch.bool)
    for number in set(sets.objects.tolist()):
        competing = []
        for level in (0, 1):
            rows = torch.nonzero((sets.objects == number) & (sets.level == level))[:, 0]
            competing += sorted(rows.tolist(), key=lambda row: ranked[row])[:6]
        competing.sort(key=lambda row: ranked[row])
        chosen[competing[: math.ceil(0.4 * len(competing))]] = True
    return chosen


@pytest.mark.parametrize(("count", "objects"), [(60, 3), (60, 40), (1, 1), (0, 0)])
def test_selection_is_that_of_loops(count, objects):
    sets = some(count, max(1, objects))
    ranked = torch.rand(count, generator=torch.Generator().manual_seed(1))
    found = select(sets, ranked, CONFIG, levels=2, objects=max(1, objects))
    assert torch.equal(found, slow_select(sets, ranked))
    assert found.any() == (count > 0)


def test_a_device_is_not_waited_for():
    sets, levels = some(), pyramid()
    wanted = quality(sets, levels, STRIDES, CONFIG, FOCAL)
    with FakeCuda() as gpu:
        moved = Assessed(*(getattr(sets, name).to(CUDA) for name in sets.__slots__))
        levels = [level.to(CUDA) for level in levels]
        gpu.reset()
        found = quality(moved, levels, STRIDES, CONFIG, FOCAL)
        chosen = select(moved, found, CONFIG, levels=2, objects=5)
        assert chosen.is_cuda
        assert not gpu.waits
        assert not gpu.copies
        torch.testing.assert_close(found.cpu(), wanted)
