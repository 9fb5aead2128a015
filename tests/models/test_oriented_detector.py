import math

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.errors import UsageError
from sodkit.models import zoo
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Keep

SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.backbone.frozen_stages=0",
    "model.fpn.channels=32",
    "model.roi.hidden=32",
)
RECIPES = (
    "rotated-faster-rcnn-r50-soda-a",
    "cfinet-r50-soda-a",
    "oriented-rcnn-r50-soda-a",
    "gliding-vertex-r50-soda-a",
    "dodet-r50-soda-a",
)
OBB = torch.tensor(
    [[25.0, 30.0, 24.0, 10.0, 0.5], [70.0, 45.0, 30.0, 12.0, -1.2], [40.0, 75.0, 16.0, 16.0, 0.0]]
)


def target(obb):
    labels = torch.arange(len(obb)) % 2
    return Target(rotated_coders.enclosing(obb), labels, torch.zeros(0, 4), obb)


def batch(*targets):
    images = torch.randn(len(targets), 3, 96, 96, generator=torch.Generator().manual_seed(0))
    count = len(targets)
    return Batch(images, ((96, 96),) * count, ((1.5, 1.5),) * count, targets)


def build(name, *overrides):
    recipe = load_recipe(name, [*SMALL, *overrides])
    torch.manual_seed(0)
    return zoo.build(recipe.model, 2)


@pytest.mark.parametrize("name", RECIPES)
def test_losses_are_finite_and_reach_every_parameter(name):
    detector = build(name)
    losses = detector(
        batch(target(OBB), target(OBB[:0])), random_order(torch.Generator().manual_seed(0))
    )
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    missing = [n for n, p in detector.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    assert detector.roi.reg.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", RECIPES)
def test_no_objects_at_all(name):
    losses = build(name)(batch(target(OBB[:0])), random_order(None))
    assert all(value.isfinite() for value in losses.values())
    assert losses["loss_reg"] == 0


@pytest.mark.parametrize("name", RECIPES)
def test_detections_are_oriented_and_canonical(name):
    detector = build(name).eval()
    (found,) = detector.detect(batch(target(OBB)), Keep(score=0.0, nms=0.1))
    assert found.obb is not None
    assert len(found.obb) == len(found.scores) > 0
    assert (found.obb[:, 2] >= found.obb[:, 3]).all()
    assert ((found.obb[:, 4] >= -math.pi / 2) & (found.obb[:, 4] < math.pi / 2)).all()
    assert (found.obb[:, :2] <= 96 / 1.5 + 1e-3).all()
    torch.testing.assert_close(found.boxes, rotated_coders.enclosing(found.obb))
    assert (found.scores.diff() <= 0).all()
    (proposals,) = detector.propose(batch(target(OBB)), 20)
    assert proposals.obb is not None
    assert len(proposals.obb) <= 20


@pytest.mark.parametrize("name", RECIPES)
def test_a_few_steps_on_one_image_bring_the_loss_down(name):
    detector = build(name, "model.backbone.norm=batch")
    data = batch(target(OBB))
    data.images.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    for box, value in zip(OBB, (1.5, -1.5, 2.5), strict=True):
        data.images[0, :, painted(box)] += value
    optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3)
    totals = []
    for _ in range(16):
        total = sum(detector(data, random_order(torch.Generator().manual_seed(0))).values())
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.6 * totals[0]


def painted(box):
    """Return the pixels (96, 96) bool inside an oriented box."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    cos, sin = math.cos(box[4]), math.sin(box[4])
    dx, dy = x + 0.5 - box[0], y + 0.5 - box[1]
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    return (along.abs() < box[2] / 2) & (across.abs() < box[3] / 2)


def test_upright_and_oriented_differ_in_the_head_only():
    upright = build("cfinet-r50-soda-d").state_dict()
    oriented = build("cfinet-r50-soda-a").state_dict()
    assert upright.keys() == oriented.keys()
    differ = {k for k in upright if upright[k].shape != oriented[k].shape}
    assert differ == {"roi.reg.weight", "roi.reg.bias"}


def test_parts_that_do_not_fit():
    with pytest.raises(UsageError, match=r"model\.roi\.box\.kind"):
        load_recipe("oriented-rcnn-r50-soda-a", ["model.roi.box.kind=upright"])
    with pytest.raises(UsageError, match="unknown key of cfinet"):
        load_recipe("cfinet-r50-soda-a", ["model.proposals.kind=oriented-rpn"])
    detector = build("cfinet-r50-soda-a")
    plain = Target(torch.tensor([[1.0, 1, 20, 20]]), torch.tensor([0]), torch.zeros(0, 4))
    with pytest.raises(ValueError, match="oriented boxes"):
        detector(batch(plain), random_order(None))
