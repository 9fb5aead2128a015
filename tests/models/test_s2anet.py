"""S2A-Net beyond the original's values: ignored anchors, gradients, an object that turns."""

import math
from dataclasses import replace

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.models import zoo
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.dense_head import DenseOutput
from sodkit.models.parts.ignored import inside
from sodkit.models.parts.matchers import IGNORED, NEGATIVE
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Keep

SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.channels=8",
    "model.convs=1",
)
SIZE = (64, 96)
OBJECTS = [[20.0, 20, 22, 9, 0.4], [60, 30, 12, 12, -1.2], [50, 50, 30, 5, 1.1], [80, 16, 14, 6, 0]]


def target(rows, ignore=()):
    obb = rotated_coders.canonical(torch.tensor(rows).reshape(-1, 5))
    regions = torch.tensor(ignore).reshape(-1, 5)
    return Target(rotated_coders.enclosing(obb), torch.arange(len(obb)) % 2, regions, obb)


def batch(*targets, size=SIZE):
    images = torch.randn(len(targets), 3, *SIZE, generator=torch.Generator().manual_seed(1))
    return Batch(images, (size,) * len(targets), ((1.0, 1.0),) * len(targets), targets)


def build(*settings):
    """Return a detector whose heads say something: their weights are larger than at the start."""
    torch.manual_seed(0)
    made = zoo.build(load_recipe("s2anet-r50-soda-a", [*SMALL, *settings]).model, 2)
    for conv in (made.fam.reg, made.fam.cls, made.odm.reg, made.odm.cls):
        torch.nn.init.normal_(conv.weight, std=0.02)
    return made


@pytest.fixture(scope="module")
def detector():
    return build()


def stages(detector, images):
    """Return the anchors of each image and the settings of both heads, and the grid."""
    grid = detector.grid(images.padded, detector.levels)
    with torch.no_grad():
        deltas = detector.fam(detector.pyramid(images.images)).deltas
    refined = list(torch.cat(detector.decode(grid, deltas), 1))
    every = torch.cat(grid)
    first = [every] * len(images.images), detector.config.fam
    return (first, (refined, detector.config.odm)), every


def test_ignore_regions_count_in_both_stages(detector):
    region = [[48.0, 40, 50, 20, 0.6]]
    images = batch(target(OBJECTS), target(OBJECTS, region))
    pairs, grid = stages(detector, images)
    assert not torch.equal(pairs[0][0][0], pairs[1][0][0])
    for anchors, stage in pairs:
        plain, found = detector.match(anchors, grid, images, stage)
        left_out = inside(anchors[1], torch.tensor(region))
        assert 10 < left_out.sum() < len(left_out) / 2
        assert (found[left_out] == IGNORED).all()
        assert (plain >= 0).any()
        assert (found >= 0).any()
    only = batch(target(OBJECTS), target([], [[48.0, 32, 200, 200, 0]]))
    for anchors, stage in stages(detector, only)[0]:
        assert (detector.match(anchors, grid, only, stage)[1] == IGNORED).all()


def test_padding_that_a_larger_image_adds_is_not_trained_on(detector):
    """By the location: a refined anchor may lie anywhere."""
    images = batch(target(OBJECTS), size=(30, 40))
    pairs, grid = stages(detector, images)
    beyond = (grid[:, 0] >= 64) | (grid[:, 1] >= 32)
    for anchors, stage in pairs:
        (found,) = detector.match(anchors, grid, images, stage)
        assert (found[beyond] == IGNORED).all()
        assert set(found[~beyond].tolist()) > {NEGATIVE, 0}


def test_an_object_without_a_refined_anchor_takes_none(detector):
    images = batch(target(OBJECTS))
    (_, (anchors, stage)), grid = stages(detector, images)
    away = [one + torch.tensor([1000.0, 0, 0, 0, 0]) for one in anchors]
    (found,) = detector.match(away, grid, images, stage)
    assert (found == NEGATIVE).all()


def test_scores_of_the_first_head_are_not_used(detector):
    images = batch(target([]))
    keep = Keep(score=0.001, nms=0.1)
    (wanted,) = detector.detect(images, keep)
    other = build()
    torch.nn.init.constant_(other.fam.cls.bias, math.nan)
    (found,) = other.detect(images, keep)
    assert len(wanted.scores) > 10
    assert torch.equal(found.obb, wanted.obb)
    assert torch.equal(found.scores, wanted.scores)


def test_the_second_head_does_not_move_the_anchors(detector):
    losses = detector(batch(target(OBJECTS)), random_order(None))
    second = losses["loss_odm_cls"] + losses["loss_odm_reg"]
    weights = [detector.fam.reg.weight, detector.align[0].conv.weight]
    anchors, aligned = torch.autograd.grad(second, weights, allow_unused=True)
    assert anchors is None
    assert aligned.abs().sum() > 0


@pytest.mark.parametrize(
    ("angles", "swaps"), [("nearer", (45, 135)), ("le90", (90,)), ("le135", (135,))]
)
def test_the_turn_of_an_object_makes_no_jump_but_where_its_description_changes(angles, swaps):
    """Loss and gradient over 360 degrees, with the anchor upright, as those of the first head."""
    detector = build(f"model.angles={angles}")
    anchor = torch.tensor([[10.0, 10.0, 8.0, 8.0, 0.0]])
    images, seen = batch(target([])), []
    for degree in range(361):
        turned = target([[11.0, 9.5, 14.0, 6.0, math.radians(degree)]])
        deltas = torch.full((1, 1, 5), 0.13, requires_grad=True)
        output = DenseOutput([torch.zeros(1, 1, 2)], [deltas])
        _, loss = detector.stage_losses(
            output, [anchor], [torch.tensor([0])], replace(images, targets=(turned,))
        )
        (grad,) = torch.autograd.grad(loss, deltas)
        seen.append([loss.item(), *grad.flatten().tolist()])
    steps = torch.tensor(seen).diff(dim=0).abs().amax(1)
    jumps = {degree + 1 for degree in torch.nonzero(steps > 0.3)[:, 0].tolist()}
    allowed = {swap + half + near for swap in swaps for half in (0, 180) for near in (0, 1)}
    assert jumps
    assert jumps <= allowed
    torch.testing.assert_close(torch.tensor(seen[0]), torch.tensor(seen[360]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("angles", ["nearer", "le90", "le135"])
def test_what_is_learnt_decodes_to_the_object(angles):
    detector = build(f"model.angles={angles}")
    generator = torch.Generator().manual_seed(0)
    draw = torch.rand(500, 10, generator=generator)
    boxes, anchors = (
        torch.cat([9 * part[:, :2], 3 + 9 * part[:, 2:4], 4 * part[:, 4:] - 2], 1)
        for part in draw.split(5, 1)
    )
    boxes, config = rotated_coders.canonical(boxes), detector.config
    deltas = rotated_coders.encode_rotated(anchors, boxes, config.stds, config.lowest)
    (found,) = detector.decode([anchors], [deltas])
    if config.lowest is None:
        assert deltas[:, 4].abs().max() <= 0.25
    else:
        assert deltas[:, 4].min() >= config.lowest / math.pi
        assert deltas[:, 4].max() < config.lowest / math.pi + 1
        assert (found[:, 2] > found[:, 3] - 1e-4).all()
        assert found[:, 4].min() >= config.lowest
    corners = [rotated_coders.corners(rotated_coders.canonical(one)) for one in (found, boxes)]
    torch.testing.assert_close(
        rotated_coders.enclosing(found), rotated_coders.enclosing(boxes), atol=1e-3, rtol=0
    )
    gaps = (corners[0][:, :, None] - corners[1][:, None]).norm(dim=-1).amin(2)
    assert gaps.max() < 1e-3
