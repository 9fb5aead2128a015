"""Matching by hulls against a slow one by shapely; regions, padding, and a device's waits."""

import numpy as np
import pytest
import shapely
import torch

from sodkit.data.batches import Target
from sodkit.geometry.rotated import obb_to_corners
from sodkit.models.kernels import blocks
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.convex_match import match_hulls
from sodkit.models.parts.matchers import IGNORED, NEGATIVE
from sodkit.settings.base import IouMatching
from tests.fake_cuda import CUDA, FakeCuda

RULE = IouMatching(positive=0.4, negative=0.3, low_quality=0.0)


def boxes(count, seed, low=3.0, high=25.0):
    """Return oriented boxes of 3 px and more at coordinate 12 000."""
    rng = np.random.default_rng(seed)
    each = np.c_[
        12000 + rng.uniform(0, 50, (count, 2)), rng.uniform(low, high, (count, 2)),
        rng.uniform(-1.5, 1.5, count),
    ]  # fmt: skip
    return rotated_coders.canonical(torch.tensor(each).float().reshape(-1, 5))


def sets(obb, count, seed):
    """Return nine points each, spread about objects in turn."""
    rng = np.random.default_rng(seed)
    own = torch.arange(count) % len(obb)
    x, y = torch.tensor(rng.normal(scale=0.35, size=(count, 9, 2))).float().unbind(-1)
    box = obb[own]
    cos, sin = box[:, 4, None].cos(), box[:, 4, None].sin()
    along, across = x * box[:, 2, None], y * box[:, 3, None]
    turned = torch.stack([along * cos - across * sin, along * sin + across * cos], -1)
    return box[:, None, :2] + turned + torch.tensor(rng.normal(size=(count, 1, 2))).float()


def target(obb, ignore=None):
    labels = torch.zeros(len(obb), dtype=torch.int64)
    regions = torch.zeros(0, 5) if ignore is None else ignore
    return Target(rotated_coders.enclosing(obb), labels, regions, obb)


def alone(points, one, left_out=None, rule=RULE):
    left_out = torch.zeros(len(points), dtype=torch.bool) if left_out is None else left_out
    return match_hulls([points], [one], [left_out], rule)[0]


def polygons(obb):
    return shapely.polygons(obb_to_corners(obb.double().numpy()))


@pytest.mark.parametrize("seed", range(3))
def test_matching_is_that_of_shapely(seed):
    obb, region = boxes(6, seed), boxes(2, seed + 10, 25.0, 40.0)
    points = sets(obb, 60, seed)
    hulls = shapely.convex_hull(shapely.multipoints(points.double().numpy()))
    area = shapely.area(shapely.intersection(hulls[:, None], polygons(obb)))
    iou = area / (shapely.area(hulls)[:, None] + shapely.area(polygons(obb)) - area)
    inside = shapely.area(shapely.intersection(hulls[:, None], polygons(region)))
    ignored = (inside > shapely.area(hulls)[:, None] / 2).any(1)
    assert 0 < ignored.sum() < 50
    found = alone(points, target(obb, region))
    np.testing.assert_allclose(found.iou, iou.max(1), atol=1e-5)
    best = iou.max(1)
    gt = np.where(best >= 0.4, iou.argmax(1), np.where(best < 0.3, NEGATIVE, IGNORED))
    for number, column in enumerate(iou.T):
        usable = np.where(ignored, 0, column)
        if usable.max() > 0:
            gt[usable == usable.max()] = number
    np.testing.assert_array_equal(found.gt, np.where(ignored, IGNORED, gt))
    assert len(set(found.gt.tolist())) > 4


def test_upright_regions_count_as_well():
    obb = boxes(4, 1)
    points = sets(obb, 40, 2)
    xyxy = torch.tensor([[12000.0, 12000.0, 12040.0, 12030.0]])
    found = [alone(points, target(obb, r)).gt for r in (xyxy, rotated_coders.upright(xyxy))]
    assert (found[0] == IGNORED).sum() > 5
    assert torch.equal(*found)


def test_what_is_left_out_takes_no_object():
    """An object takes the best of the others: not one of the padding."""
    obb = boxes(1, 0, 10.0)
    points = sets(obb, 30, 0)
    best = alone(points, target(obb)).iou.argmax()
    left_out = torch.arange(30) == best
    found = alone(
        points, target(obb), left_out, IouMatching(positive=0.99, negative=0.99, low_quality=0.0)
    )
    assert found.gt[best] == IGNORED
    assert (found.gt == 0).sum() == 1


def test_an_object_that_no_hull_touches_has_none():
    obb = boxes(2, 0)
    points = sets(obb, 20, 0)
    far = torch.cat([obb[:1], obb[1:] + torch.tensor([500.0, 0, 0, 0, 0])])
    found = alone(points, target(far))
    assert (found.gt == 0).any()
    assert not (found.gt == 1).any()
    nothing = alone(points, target(obb[:0]))
    assert (nothing.gt == NEGATIVE).all()


def test_specks_are_matched():
    """At the start the points are all but one."""
    obb = boxes(1, 0, 10.0)
    points = obb[:, None, :2] + 1e-3 * torch.randn(1, 9, 2, generator=torch.Generator())
    found = alone(points, target(obb))
    assert found.gt.tolist() == [0]
    assert 0 < found.iou < 1e-5
    region = alone(points, target(obb[:0], obb))
    assert region.gt.tolist() == [IGNORED]


def test_images_are_matched_together_as_alone(monkeypatch):
    images = [boxes(n, n) for n in (5, 0, 3)]
    points = [sets(boxes(4, 20 + n), 30, n) for n in range(3)]
    targets = [target(obb, boxes(2, 30 + n)) for n, obb in enumerate(images)]
    none = [torch.zeros(30, dtype=torch.bool)] * 3
    together = match_hulls(points, targets, none, RULE)
    monkeypatch.setattr(blocks, "CELLS", 50)  # one object at a time
    for own, one, found in zip(points, targets, together, strict=True):
        assert torch.equal(alone(own, one).gt, found.gt)


@pytest.mark.parametrize("count", [3, 300])
def test_a_device_is_waited_for_once(count):
    points = [sets(boxes(4, 20 + n), 40, n) for n in range(5)]
    targets = [target(boxes(count, n), boxes(2, 30 + n)) for n in range(5)]
    none = [torch.zeros(40, dtype=torch.bool)] * 5
    wanted = match_hulls(points, targets, none, RULE)
    with FakeCuda() as gpu:
        points, none = ([one.to(CUDA) for one in each] for each in (points, none))
        targets = [one.to(CUDA) for one in targets]
        gpu.reset()
        found = match_hulls(points, targets, none, RULE)
        assert gpu.waits.total() == 1
        assert not gpu.copies
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.gt.cpu(), other.gt)
