"""Whom Rotated and Oriented RepPoints train, and what their settings change."""

from dataclasses import replace

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.models import zoo
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.matchers import IGNORED, NEGATIVE
from sodkit.models.rotated_reppoints import in_pixels, rectangles
from sodkit.settings import Keep

NAMES = ("rotated-reppoints", "oriented-reppoints")
SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.channels=16",
    "model.groups=4",
    "model.convs=1",
    "model.levels=4",
)
SIZE = (96, 128)


def build(name, *more):
    torch.manual_seed(0)
    detector = zoo.build(load_recipe(f"{name}-r50-soda-a", [*SMALL, *more]).model, 2)
    with torch.no_grad():  # points on a grid of whole strides, so that hulls have an area
        step = torch.arange(-1.0, 2.0)
        grid = torch.stack(torch.meshgrid(step, step, indexing="ij"), -1)
        detector.head.initial_out.bias.copy_(grid.flatten())
    return detector


def target(obb, ignore=()):
    obb, regions = (torch.tensor(x, dtype=torch.float32).reshape(-1, 5) for x in (obb, ignore))
    labels = torch.zeros(len(obb), dtype=torch.int64)
    return Target(rotated_coders.enclosing(obb), labels, regions, obb)


def batch(*targets, sizes=None):
    count = len(targets)
    images = torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    return Batch(images, sizes or (SIZE,) * count, ((1.0, 1.0),) * count, targets)


def matches(detector, given):
    """Return the matches that are reported: of locations, then of point sets, of each image."""
    found = []
    detector(replace(given, on_match=found.append), torch.randperm)
    return found


OBJECTS = [[65.0, 65.0, 14.0, 8.0, 0.4], [24.0, 24.0, 13.0, 9.0, -0.5]]
REGION = [65.0, 62.0, 34.0, 30.0, 0.3]


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_in_a_region_is_neither_positive_nor_negative(name):
    detector = build(name)
    without = matches(detector, batch(target(OBJECTS)))
    found = matches(detector, batch(target(OBJECTS, [REGION])))
    assert len(found) == 2
    assert not (without[0] == IGNORED).any()
    assert not (found[0] == 0).any()
    for stage, free in zip(found, without, strict=True):
        # larger hulls, which are not in the region, may still take the object
        assert (stage == 0).sum() < (free == 0).sum()
        assert (stage == 1).any()
        assert (stage == IGNORED).sum() > 50
        assert (stage == NEGATIVE).sum() > 300


@pytest.mark.parametrize("name", NAMES)
def test_regions_change_the_losses_of_what_lies_in_them_only(name):
    """Of images without objects the class loss shrinks; where all is ignored it is 0."""
    detector = build(name)
    everywhere = [[60.0, 60.0, 900.0, 900.0, 0.2]]
    losses = [
        detector(batch(target([], ignore)), torch.randperm)["loss_cls"].item()
        for ignore in ([], [REGION], everywhere)
    ]
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] == 0


@pytest.mark.parametrize("name", NAMES)
def test_padding_of_a_larger_image_takes_no_part(name):
    detector = build(name)
    given = batch(target(OBJECTS), target([[20, 20, 14, 10, 0.3]]), sizes=(SIZE, (30, 40)))
    at = detector.locations(given).at
    beyond = (at[:, 0] >= 64) | (at[:, 1] >= 32)  # alone it is padded to 32 x 64
    for found in matches(detector, given)[1::2]:
        assert (found[beyond] == IGNORED).all()
        assert (found[~beyond] >= IGNORED).all()
        assert (found == 0).any()


def test_candidates_that_are_not_selected_are_negatives():
    detector = build("oriented-reppoints")
    given = batch(target(OBJECTS))
    output = detector.head(detector.pyramid(given.images))
    locations = detector.locations(given)
    (candidates,) = detector.match_sets(torch.cat(output.initial, 1), locations, given)
    first, found = matches(detector, given)
    assert (first >= 0).sum() == 2
    was, is_now = candidates.gt >= 0, found >= 0
    assert 2 < is_now.sum() < was.sum()
    assert (found[was & ~is_now] == NEGATIVE).all()
    assert torch.equal(found[is_now], candidates.gt[is_now])
    assert set(found[is_now].tolist()) == {0, 1}
    everyone = build("oriented-reppoints", "model.quality.kept=1.0", "model.quality.each_level=999")
    assert torch.equal(matches(everyone, given)[1] >= 0, was)


def test_points_outside_of_their_object_are_pulled_in():
    detector = build("oriented-reppoints")
    given = batch(target(OBJECTS))
    output = detector.head(detector.pyramid(given.images))
    locations = detector.locations(given)
    nearest = detector.nearest(given, locations)
    sets = torch.zeros_like(torch.cat(output.initial, 1))
    sets[0, nearest.rows] = torch.tensor([0.1, 0.1])
    sets[0, nearest.rows[0], 4] = torch.tensor([8.0, -3.0])
    sets.requires_grad_()
    loss = detector.outside_loss(sets, nearest, locations, given)
    at, stride = locations.at[nearest.anchors[0]], locations.stride[nearest.anchors[0]]
    gap = at + torch.tensor([-3.0, 8.0]) * stride - nearest.boxes[0, :2]
    # one point outside, two positives of its level
    torch.testing.assert_close(loss, 0.2 * gap.norm() / (2 * stride[0]) / 2)
    loss.backward()
    assert (sets.grad != 0).any(-1).sum() == 1
    moved = sets.grad[0, nearest.rows[0], 4]
    assert moved[0] > 0 > moved[1]


def test_the_transposed_sets_of_the_original_are_matched_otherwise():
    """Its assigner reads (y, x) as (x, y): sets are mirrored about the diagonal."""
    given = batch(target([[64.0, 64.0, 40.0, 8.0, 0.0]]))
    own, theirs = (
        build("rotated-reppoints", f"model.matching.transposed={switch}")
        for switch in ("false", "true")
    )
    sets = 3 * torch.rand(1, len(own.locations(given).at), 9, 2, generator=torch.Generator())
    sets[..., 1] *= 3  # wide, as the object is
    locations = own.locations(given)
    found, other = (one.match_sets(sets, locations, given)[0] for one in (own, theirs))
    assert found.iou.max() > other.iou.max() + 0.1
    (mirrored,) = own.match_sets(sets.flip(-1), locations, given)
    assert torch.equal(mirrored.iou, other.iou)


def test_detections_are_the_least_rectangles_around_the_refined_points():
    detector = build("rotated-reppoints").eval()
    given = batch(target([]))
    with torch.no_grad():
        output = detector.head(detector.pyramid(given.images))
    locations = detector.locations(given)
    (found,) = detector.detect(given, Keep(score=0.0001, nms=1.0, max_per_patch=100))
    points = in_pixels(torch.cat(output.refined, 1)[0], locations.at, locations.stride)
    boxes = torch.cat([
        rectangles(output.refined[level][0], locations.at[locations.level == level], 4 * 2**level)
        for level in range(4)
    ])  # fmt: skip
    assert len(found.obb) == 100
    assert (found.obb[:, None] - boxes).abs().amax(2).amin(1).max() < 1e-4
    x, y = (points - boxes[:, None, :2]).unbind(-1)
    cos, sin = boxes[:, 4, None].cos(), boxes[:, 4, None].sin()
    assert ((x * cos + y * sin).abs() <= boxes[:, 2, None] / 2 + 1e-3).all()
    assert ((y * cos - x * sin).abs() <= boxes[:, 3, None] / 2 + 1e-3).all()


class Noted:
    """A step of several processes: its counts are noted for them all together, then given to each.

    ``processes`` is what a total is divided by, as losses are means over the processes.
    """

    def __init__(self):
        self.counts, self.asked, self.processes = [], None, 1

    def total(self, count, least=1):
        if self.asked is None:
            self.counts.append(count)
        else:
            count = self.counts[self.asked]
            self.asked += 1
        total = count.clamp(min=least) if isinstance(count, torch.Tensor) else max(count, least)
        return total / self.processes


@pytest.mark.parametrize("name", NAMES)
def test_losses_of_two_processes_are_in_the_mean_those_of_one(name):
    detector, step = build(name), Noted()
    with torch.no_grad():
        detector.head.initial_out.bias.mul_(2.5)  # points outside of their objects
    given = replace(batch(target(OBJECTS), target([[40, 50, 14, 10, 0.3]])), step=step)
    wanted = detector(given, torch.randperm)
    step.processes, found = 2, []
    for image in (0, 1):
        step.asked = 0
        found.append(detector(given.part(range(image, image + 1)), torch.randperm))
        assert step.asked == len(step.counts)
    for key, value in wanted.items():
        assert value > 1e-4, key
        mean = (found[0][key] + found[1][key]).item() / 2
        assert mean == pytest.approx(value.item(), rel=1e-5), key
