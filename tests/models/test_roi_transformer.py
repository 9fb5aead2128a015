"""RoI Transformer: what goes from head to head, against slow readings of the same outputs."""

import math

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.errors import ModelError
from sodkit.models import zoo
from sodkit.models.importers import angles, families, mmdet
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.ignored import inside
from sodkit.models.parts.roi_head import HeadOutput
from sodkit.models.parts.selection import Proposals
from sodkit.models.roi_transformer import see
from sodkit.settings import Keep

NAME = "roi-transformer-r50-soda-a"
SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.fpn.channels=8",
    "model.learner.hidden=8",
    "model.roi.hidden=8",
    "model.proposals.limit={train: 40, test: 12}",
)
SIZE = (64, 96)
OBJECTS = [[20.0, 20, 22, 9, 0.4], [60, 30, 12, 12, -1.2], [50, 50, 30, 5, 1.1]]


def target(rows, ignore=()):
    obb = rotated_coders.canonical(torch.tensor(rows).reshape(-1, 5))
    regions = torch.tensor(ignore).reshape(-1, 5)
    return Target(rotated_coders.enclosing(obb), torch.arange(len(obb)) % 2, regions, obb)


def batch(*targets):
    images = torch.randn(len(targets), 3, *SIZE, generator=torch.Generator().manual_seed(1))
    return Batch(images, (SIZE,) * len(targets), ((1.0, 1.0),) * len(targets), targets)


def in_order(count):
    return torch.arange(count)


@pytest.fixture(scope="module")
def detector():
    """A detector whose heads say something: their weights are larger than at the start."""
    torch.manual_seed(0)
    made = zoo.build(load_recipe(NAME, SMALL).model, 2)
    for layer in (made.learner.reg, made.roi.reg, made.learner.cls, made.roi.cls):
        torch.nn.init.normal_(layer.weight, std=0.5)
    return made.eval()


def turned_slowly(roi, delta):
    """Return the oriented box (5,) of an upright RoI: angles in turns, the longer side first."""
    x1, y1, x2, y2 = roi
    dx, dy, dw, dh, turn = (d * s for d, s in zip(delta, (0.1, 0.1, 0.2, 0.2, 1.0), strict=True))
    w, h, angle = (x2 - x1) * math.exp(dw), (y2 - y1) * math.exp(dh), 2 * math.pi * turn
    if h > w:
        w, h, angle = h, w, angle + math.pi / 2
    angle = (angle + math.pi / 2) % math.pi - math.pi / 2
    return (x1 + x2) / 2 + dx * (x2 - x1), (y1 + y2) / 2 + dy * (y2 - y1), w, h, angle


def moved_slowly(box, delta):
    """Return the corners (4, 2) that deltas make in the frame of an oriented box."""
    x, y, w, h, angle = box
    stds = (0.05, 0.05, 0.1, 0.1, 0.5)
    dx, dy, dw, dh, turn = (d * s for d, s in zip(delta, stds, strict=True))
    x += dx * w * math.cos(angle) - dy * h * math.sin(angle)
    y += dx * w * math.sin(angle) + dy * h * math.cos(angle)
    moved = torch.tensor([x, y, w * math.exp(dw), h * math.exp(dh), angle + turn])
    return rotated_coders.corners(moved)


def test_detections_are_the_second_heads_by_the_mean_of_both_logits(detector):
    images = batch(target([]), target([]))
    found = detector.detect(images, Keep(score=0.0, nms=1.0, max_per_patch=500))
    with torch.no_grad():
        pyramid = detector.fpn(detector.backbone(images.images))
        proposals = detector.rpn.select(detector.rpn(pyramid, images), images)
        for number, (one, own) in enumerate(zip(proposals, found, strict=True)):
            image = torch.full((len(one.boxes),), number)
            first = see(detector.learner, pyramid, one.boxes, image)
            deltas = first.deltas[:, 0].tolist()
            rows = zip(one.boxes.tolist(), deltas, strict=True)
            turned = torch.tensor([turned_slowly(*row) for row in rows])
            second = see(detector.roi, pyramid, turned, image)
            scores = ((first.logits + second.logits) / 2).softmax(1)
            missing = 0
            for row, box in enumerate(turned.tolist()):
                for label in range(2):
                    corners = moved_slowly(box, second.deltas[row, label].tolist())
                    near = (own.scores - scores[row, label]).abs() < 1e-4
                    near &= own.labels == label
                    centre = corners.mean(0)
                    inside_image = (centre > 0.1).all() and (
                        centre < torch.tensor([SIZE[1], SIZE[0]]) - 0.1
                    ).all()
                    if not inside_image:
                        missing += 1
                        continue
                    have = rotated_coders.corners(own.obb[near])
                    gaps = (have[:, :, None] - corners).norm(dim=-1).amin(2).amax(1)
                    assert gaps.min() < 0.02
            assert missing < len(turned)


def test_the_head_trains_on_what_the_learner_made_and_on_the_objects(detector):
    images = batch(target(OBJECTS), target([]))
    generator = torch.Generator().manual_seed(2)
    proposals = []
    for _ in range(2):
        corner = 60 * torch.rand(30, 2, generator=generator)
        size = 4 + 20 * torch.rand(30, 2, generator=generator)
        proposals.append(Proposals(torch.cat([corner, corner + size], 1), torch.zeros(30)))
    rois = detector.learner.sample(proposals, images.targets, in_order)
    assert rois.added.sum() == 3
    deltas = torch.randn(len(rois.boxes), 1, 5, generator=generator)
    output = HeadOutput(torch.zeros(len(rois.boxes), 3), deltas)
    again = detector.turned_again(rois, output, 2)
    for number, one in enumerate(again):
        rows = [
            row for row in range(len(rois.boxes))
            if int(rois.image[row]) == number and not rois.added[row]
        ]  # fmt: skip
        assert len(rows) == 30
        wanted = [turned_slowly(rois.boxes[r].tolist(), deltas[r, 0].tolist()) for r in rows]
        torch.testing.assert_close(one.boxes, torch.tensor(wanted), atol=1e-3, rtol=1e-4)
    second = detector.roi.sample(again, images.targets, in_order)
    torch.testing.assert_close(second.boxes[second.added], images.targets[0].obb)


def test_ignore_regions_count_in_both_heads(detector):
    region = [[48.0, 40, 50, 20, 0.6]]
    images = batch(target(OBJECTS, region))
    x, y = torch.meshgrid(torch.arange(0.0, 90, 6), torch.arange(0.0, 60, 6), indexing="ij")
    corner = torch.stack([x, y], -1).reshape(-1, 2)
    upright = torch.cat([corner, corner + 8], 1)
    oriented = rotated_coders.upright(upright) + torch.tensor([0, 0, 0, 0, 0.3])
    for head, boxes in ((detector.learner, upright), (detector.roi, oriented)):
        chosen = head.sample([Proposals(boxes, torch.zeros(150))], images.targets, in_order)
        left_out = inside(boxes, torch.tensor(region))
        assert 10 < left_out.sum() < 75
        assert len(chosen.boxes) == 3 + 150 - int(left_out.sum())


def test_losses_of_the_head_do_not_move_the_learner(detector):
    losses = detector(batch(target(OBJECTS), target([])), in_order)
    assert list(losses) == [
        "loss_rpn_cls", "loss_rpn_reg", "loss_learner_cls", "loss_learner_reg", "loss_cls",
        "loss_reg",
    ]  # fmt: skip
    weights = [detector.learner.reg.weight, detector.roi.reg.weight]
    first, second = torch.autograd.grad(losses["loss_reg"], weights, allow_unused=True)
    assert first is None
    assert second.abs().sum() > 0


def test_a_learner_that_diverged_makes_no_error(detector):
    rois = torch.tensor([[2.0, 3, 20, 30]] * 2)
    for bad in (math.nan, math.inf):
        output = HeadOutput(torch.zeros(2, 3), torch.full((2, 1, 5), bad))
        assert detector.turn(rois, output).isfinite().all()


def theirs(detector):
    """Return a state dict by mmrotate's names."""
    layers = {"fc1": "shared_fcs.0", "fc2": "shared_fcs.1", "cls": "fc_cls", "reg": "fc_reg"}
    state = {}
    for key, value in detector.state_dict().items():
        part, rest = key.split(".", 1)
        if part in ("learner", "roi"):
            layer, kind = rest.split(".")
            number = int(part == "roi")
            key = f"roi_head.bbox_head.{number}.{layers[layer]}.{kind}"
        elif part == "rpn":
            key = f"rpn_head.rpn_{rest}"
        elif part == "fpn":
            group, number, kind = rest.split(".")
            group = {"lateral": "lateral_convs", "output": "fpn_convs"}[group]
            key = f"neck.{group}.{number}.conv.{kind}"
        state[key] = value
    return state


def test_mmrotates_names_are_understood(detector):
    state = theirs(detector)
    found = families.recognise(state)
    assert found.recipe == NAME
    assert found.classes == 2
    sizes = {"model.fpn.channels=8", "model.learner.hidden=8", "model.roi.class_agnostic=false"}
    assert sizes <= set(found.overrides)
    other = zoo.build(load_recipe(found.recipe, found.overrides).model, 2)
    other.load_state_dict(mmdet.convert(state, other, found.table))
    for key, value in detector.state_dict().items():
        assert torch.equal(other.state_dict()[key], value), key
    with pytest.raises(ModelError, match="RoI Transformer was trained with angles of le135"):
        angles.heeded(found, {"config": "angle_version = 'le135'"})
    # a cascade of upright heads has the same names
    upright = {k: v[:4] if k.endswith("0.fc_reg.bias") else v for k, v in state.items()}
    with pytest.raises(ModelError, match="none of the detectors"):
        families.recognise(upright)
