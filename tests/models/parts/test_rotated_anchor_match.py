import math

import numpy as np
import pytest
import torch
from shapely import Polygon

from sodkit.data.batches import Target
from sodkit.geometry.rotated import obb_to_corners
from sodkit.models.kernels import blocks
from sodkit.models.parts import rotated_anchor_match, rotated_coders, rotated_pairs
from sodkit.models.parts.matchers import IGNORED, NEGATIVE
from sodkit.settings.base import IouMatching
from tests.fake_cuda import CUDA, FakeCuda

RULE = IouMatching(positive=0.5, negative=0.4, low_quality=0.0)


def boxes(count, seed, low=3.0, high=30.0, at=12000.0):
    """Return oriented boxes within 60 px of a place far from the origin, of least 3 px."""
    draw = torch.Generator().manual_seed(seed)
    centre = at + 60 * torch.rand(count, 2, generator=draw)
    sides = low + (high - low) * torch.rand(count, 2, generator=draw)
    angle = math.pi * (torch.rand(count, 1, generator=draw) - 0.5)
    return rotated_coders.canonical(torch.cat([centre, sides, angle], 1))


def target(obb, ignore=None):
    labels = torch.zeros(len(obb), dtype=torch.int64)
    regions = torch.zeros(0, 5) if ignore is None else ignore
    return Target(rotated_coders.enclosing(obb), labels, regions, obb)


def polygons(obb):
    return [Polygon(corners) for corners in obb_to_corners(obb.double().numpy())]


def overlaps(anchors, obb):
    """Return exact IoUs (N, G) by shapely."""
    rows = [
        [a.intersection(b).area / a.union(b).area for b in polygons(obb)] for a in polygons(anchors)
    ]
    return np.array(rows).reshape(len(anchors), len(obb))


def slow(iou, ignored, rule=RULE):
    """Match by the rule's words, one anchor and one object after the other."""
    gt = []
    for row in iou:
        best = row.max(initial=0)
        match = NEGATIVE if best < rule.negative else IGNORED
        gt.append(int(row.argmax()) if best >= rule.positive else match)
    for number, column in enumerate(iou.T):
        top = np.where(ignored, 0, column).max(initial=0)
        if top > 0 and top >= rule.low_quality:
            for row in np.flatnonzero((np.abs(column - top) < 1e-6) & ~ignored):
                gt[row] = number
    return np.where(ignored, IGNORED, gt)


@pytest.mark.parametrize("seed", range(3))
def test_matching_is_that_of_shapely(seed):
    anchors, obb = boxes(60, seed), boxes(9, seed + 10)
    region = boxes(2, seed + 20, low=25.0, high=40.0)
    iou = overlaps(anchors, obb)
    shares = [
        [a.intersection(r).area / a.area for r in polygons(region)] for a in polygons(anchors)
    ]
    ignored = np.array(shares).max(1) > 0.5
    assert ignored.any()
    (found,) = rotated_anchor_match.match_anchors([anchors], [target(obb, region)], RULE)
    np.testing.assert_allclose(found.iou, iou.max(1), atol=1e-4)
    np.testing.assert_array_equal(found.gt, slow(iou, ignored))


def test_each_image_may_have_anchors_of_its_own():
    anchors = [boxes(40, 0), boxes(25, 1), boxes(40, 0)]
    targets = [target(boxes(n, n), boxes(1, 30 + n)) for n in (5, 4, 3)]
    together = rotated_anchor_match.match_anchors(anchors, targets, RULE)
    for own, one, found in zip(anchors, targets, together, strict=True):
        (alone,) = rotated_anchor_match.match_anchors([own], [one], RULE)
        assert (found.gt >= 0).any()
        torch.testing.assert_close(found.gt, alone.gt)
        torch.testing.assert_close(found.iou, alone.iou)


def test_upright_regions_count_as_well():
    anchors, obb = boxes(30, 0), boxes(4, 1)
    xyxy = torch.tensor([[12000.0, 12000.0, 12040.0, 12030.0]])
    upright = rotated_coders.upright(xyxy)
    found = [
        rotated_anchor_match.match_anchors([anchors], [target(obb, one)], RULE)[0].gt
        for one in (xyxy, upright)
    ]
    assert (found[0] == IGNORED).any()
    torch.testing.assert_close(*found)


def test_images_are_matched_together_as_alone(monkeypatch):
    anchors = boxes(40, 3)
    targets = [target(boxes(n, n), boxes(2, 30 + n)) for n in (5, 0, 3)]
    together = rotated_anchor_match.match_anchors([anchors] * len(targets), targets, RULE)
    monkeypatch.setattr(blocks, "CELLS", 50)  # one object at a time
    for one, found in zip(targets, together, strict=True):
        (alone,) = rotated_anchor_match.match_anchors([anchors], [one], RULE)
        torch.testing.assert_close(found.gt, alone.gt)
        torch.testing.assert_close(found.iou, alone.iou)
    assert (together[1].gt[together[1].gt != IGNORED] == NEGATIVE).all()


@pytest.mark.parametrize("count", [3, 300])
def test_a_device_is_waited_for_once(count):
    anchors = boxes(40, 3)
    targets = [target(boxes(count, n), boxes(2, 30 + n)) for n in range(5)]
    wanted = rotated_anchor_match.match_anchors([anchors] * len(targets), targets, RULE)
    with FakeCuda() as gpu:
        anchors, targets = anchors.to(CUDA), [one.to(CUDA) for one in targets]
        gpu.reset()
        found = rotated_anchor_match.match_anchors([anchors] * len(targets), targets, RULE)
        assert gpu.waits.total() == 1
        assert not gpu.copies
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.gt.cpu(), other.gt)


def test_an_object_that_overlaps_no_anchor_takes_none():
    anchors = boxes(10, 0)
    far = boxes(1, 1, at=100.0)
    (found,) = rotated_anchor_match.match_anchors([anchors], [target(far)], RULE)
    assert (found.gt == NEGATIVE).all()


def test_of_two_objects_that_are_one_the_last_takes_the_best_anchors():
    obb = boxes(1, 4)
    anchors = torch.cat([obb, boxes(5, 5)])
    (found,) = rotated_anchor_match.match_anchors([anchors], [target(torch.cat([obb, obb]))], RULE)
    assert found.gt[0] == 1
    only = RULE.model_copy(update={"low_quality": None})
    (found,) = rotated_anchor_match.match_anchors([anchors], [target(torch.cat([obb, obb]))], only)
    assert found.gt[0] == 0


def test_tall_anchors_stay_tall():
    xyxy = torch.tensor([[0.0, 0.0, 4.0, 8.0]])
    found = rotated_anchor_match.as_oriented(xyxy)
    torch.testing.assert_close(found, torch.tensor([[2.0, 4.0, 4.0, 8.0, 0.0]]))


def test_pairs_hold_all_that_overlap():
    a, b = boxes(30, 0), boxes(20, 1)
    (found,) = rotated_pairs.touching_pairs([a], [b])
    table = torch.zeros(30, 20)
    table[found.box, found.other] = found.iou
    np.testing.assert_allclose(table, overlaps(a, b), atol=1e-4)
    first, second = np.array(polygons(a))[found.box], np.array(polygons(b))[found.other]
    areas = [p.intersection(q).area for p, q in zip(first, second, strict=True)]
    np.testing.assert_allclose(found.intersection(a, b), areas, rtol=1e-4, atol=1e-2)


def test_the_turn_of_an_object_makes_no_jump_but_where_its_sides_swap():
    """Loss of the anchor's deltas over 360 degrees: continuous but at 45, 135, ... degrees."""
    anchor = torch.tensor([[50.0, 50.0, 8.0, 16.0, 0.0]])
    angles = torch.arange(0, 2 * math.pi, math.pi / 720)
    obb = torch.stack([torch.tensor([52.0, 49.0, 20.0, 9.0, float(angle)]) for angle in angles])
    deltas = torch.tensor([[0.1, -0.1, 0.2, 0.1, 0.3]])
    wanted = rotated_coders.encode_rotated(anchor, rotated_coders.canonical(obb), (1.0,) * 5)
    losses = (deltas - wanted).abs().sum(1)
    jumps = torch.nonzero((losses - losses.roll(1)).abs() > 0.02)[:, 0]
    degrees = torch.rad2deg(angles[jumps])
    assert len(jumps) == 4
    torch.testing.assert_close(degrees % 90, torch.full((4,), 45.0), atol=0.3, rtol=0)
