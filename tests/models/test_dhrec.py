"""DHRec's losses and detections against slow ones, by loops and shapely, of the same outputs."""

import math

import numpy as np
import pytest
import shapely
import torch
from torch.nn import functional as F

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.models import zoo
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.dense_head import DenseOutput
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Keep

SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.channels=8",
    "model.convs=1",
)
SIZE = (64, 96)
OBJECTS = (
    [[20.0, 20, 22, 9, 0.4], [60, 30, 12, 12, -1.2], [50, 50, 30, 5, 1.1], [80, 16, 14, 6, 0.0]],
    [[40.0, 30, 18, 11, -0.8]],
)


def target(rows, ignore=()):
    obb = rotated_coders.canonical(torch.tensor(rows).reshape(-1, 5))
    regions = torch.tensor(ignore).reshape(-1, 5)
    labels = torch.arange(len(obb)) % 2
    return Target(rotated_coders.enclosing(obb), labels, regions, obb)


def batch(*targets):
    count = len(targets)
    images = torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    return Batch(images, (SIZE,) * count, ((1.0, 1.0),) * count, targets)


@pytest.fixture(scope="module")
def detector():
    """A detector whose head says something: its weights are larger than at the start."""
    torch.manual_seed(0)
    made = zoo.build(load_recipe("dhrec-r50-soda-a", SMALL).model, 2)
    for conv in (made.head.reg, made.head.cls, made.head.centerness):
        torch.nn.init.normal_(conv.weight, std=0.05)
    torch.nn.init.uniform_(made.head.reg.bias, -0.2, 0.8)
    return made


def outputs(detector, images):
    """Return logits (B, A, C), numbers (B, A, 11), confidence (B, A) and anchors, float64."""
    with torch.no_grad():
        output: DenseOutput = detector.head(detector.pyramid(images.images))
    every = (torch.cat(part, 1) for part in (output.logits, output.deltas, output.centerness))
    grid = torch.cat(detector.grid(images.padded, detector.levels, images.images.device))
    return tuple(one.double() for one in (*every, grid))


def rectangle(anchor, delta):
    """Return (x1, y1, x2, y2) of an anchor moved by four deltas."""
    w, h = anchor[2] - anchor[0], anchor[3] - anchor[1]
    x, y = (anchor[0] + anchor[2]) / 2 + delta[0] * w, (anchor[1] + anchor[3]) / 2 + delta[1] * h
    w, h = w * math.exp(delta[2]), h * math.exp(delta[3])
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def giou(a, b):
    one, other = shapely.box(*a), shapely.box(*b)
    union = one.union(other).area
    around = shapely.box(*np.minimum(a, b)[:2], *np.maximum(a, b)[2:]).area
    return one.intersection(other).area / union - (around - union) / around


def truth(corners):
    """Return A, B and the box around an object (4, 2), and its factors."""
    x, y = np.sort(corners[:, 0]), np.sort(corners[:, 1])
    three = (x[0], y[0], x[2], y[2]), (x[1], y[1], x[3], y[3]), (x[0], y[0], x[3], y[3])
    thing, ease = shapely.Polygon(corners), 0.05 * shapely.Polygon(corners).area

    def more(*triangles):
        first, second = (thing.intersection(shapely.Polygon(t)).area for t in triangles)
        return (first + ease) / (first + second + 2 * ease)

    top = more(*([(x[0], y[1]), (tip, y[0]), (x[3], y[1])] for tip in (x[1], x[2])))
    left = more(*([(x[1], y[0]), (x[0], tip), (x[1], y[3])] for tip in (y[1], y[2])))
    return three, (thing.area / shapely.box(*three[2]).area, top, left)


def polygon(a, b, factor):
    """Return the least rectangle around what the numbers say, as the facts of DHRec have it."""
    (x1, y1, x3, y3), (x2, y2, x4, y4), (full, top, left) = a, b, factor
    if full > 0.5 and (top - 0.5) * (left - 0.5) >= 0:
        if abs(top - 0.5) < abs(left - 0.5):
            top = 1 - top
        else:
            left = 1 - left
    x = (x2, x1, x3, x4) if top > 0.5 else (x3, x1, x2, x4)
    y = (y1, y2, y4, y3) if left > 0.5 else (y1, y3, y4, y2)
    return least_rectangle(np.array([x, y]).T)


def least_rectangle(points):
    """Return the rectangle of least area around four points, along a line between two of them.

    Of equal areas, which quadrilaterals with a dent have, the first one. Not by
    ``shapely.oriented_envelope``: it may give the rectangle of least width.
    """
    best = None
    for i, j in ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (1, 3)):
        step = points[j] - points[i]
        axes = np.array([step, [-step[1], step[0]]]) / np.hypot(*step)
        turned = points @ axes.T
        box = shapely.box(*turned.min(0), *turned.max(0))
        if best is None or box.area < best.area * (1 - 1e-9):
            best = shapely.transform(box, lambda xy, axes=axes: xy @ axes)
    return best


def slow_losses(detector, images, matches):
    """Return the four losses by their definition, anchor by anchor."""
    logits, numbers, confidence, grid = outputs(detector, images)
    cls = reg = factors = sure = 0.0
    positives = 0
    for image, (one, match) in enumerate(zip(images.targets, matches, strict=True)):
        things = rotated_coders.corners(one.obb.double()).numpy()
        for anchor, gt in enumerate(match.tolist()):
            if gt == -2:
                continue
            for label, logit in enumerate(logits[image, anchor].tolist()):
                p = 1 / (1 + math.exp(-logit))
                if gt >= 0 and label == int(one.labels[gt]):
                    cls -= 0.25 * (1 - p) ** 2 * math.log(p)
                else:
                    cls -= 0.75 * p**2 * math.log(1 - p)
            if gt < 0:
                continue
            positives += 1
            values = numbers[image, anchor].tolist()
            a, b = (rectangle(grid[anchor].tolist(), values[i : i + 4]) for i in (0, 4))
            around = (*np.minimum(a, b)[:2], *np.maximum(a, b)[2:])
            three, wanted = truth(things[gt])
            reg += sum(1 - giou(*pair) for pair in zip((a, b, around), three, strict=True))
            for value, want in zip(values[8:], wanted, strict=True):
                gap = abs(value - want)
                factors += gap**2 * 4.5 if gap < 1 / 9 else gap - 1 / 18
            found, thing = polygon(a, b, values[8:]), shapely.Polygon(things[gt])
            iou = found.intersection(thing).area / found.union(thing).area
            q = 1 / (1 + math.exp(-confidence[image, anchor].item()))
            sure -= iou * math.log(q) + (1 - iou) * math.log(1 - q)
    count = positives + len(images.sizes)
    return {
        "loss_cls": cls / count,
        "loss_reg": reg / (3 * positives + len(images.sizes)),
        "loss_factor": factors / count,
        "loss_confidence": sure / positives,
    }


def test_losses_are_their_definition(detector):
    images = batch(target(OBJECTS[0], [[30.0, 45, 40, 8, 0.6]]), target(OBJECTS[1]))
    grid = detector.grid(images.padded, detector.levels, images.images.device)
    matches = [detector.match(grid, one, SIZE) for one in images.targets]
    losses = detector(images, random_order(None))
    wanted = slow_losses(detector, images, matches)
    assert {-2, -1, 0, 1, 2, 3} == set(matches[0].tolist())
    assert set(losses) == set(wanted)
    for name, value in wanted.items():
        assert losses[name].item() == pytest.approx(value, rel=1e-4), name


def test_detections_are_the_decoded_boxes_by_both_scores(detector):
    images = batch(target([]))
    (found,) = detector.eval().detect(images, Keep(score=0.0, nms=1.0, max_per_patch=5000))
    logits, numbers, confidence, grid = outputs(detector, images)
    detector.train()
    wanted = {}
    for anchor, box in enumerate(grid.tolist()):
        values = numbers[0, anchor].tolist()
        a, b = (rectangle(box, values[i : i + 4]) for i in (0, 4))
        thing = polygon(a, b, values[8:])
        for label in range(2):
            score = (logits[0, anchor, label].sigmoid() * confidence[0, anchor].sigmoid()).item()
            wanted[anchor, label] = score, thing
    ranked = sorted(wanted.items(), key=lambda one: -one[1][0])
    inside = [
        (score, label, thing) for (_, label), (score, thing) in ranked
        if 0.01 < thing.centroid.x < SIZE[1] - 0.01 and 0.01 < thing.centroid.y < SIZE[0] - 0.01
    ]  # fmt: skip
    assert len(found.scores) > 1000
    for row in range(0, 400, 7):
        score, label, thing = inside[row]
        near = np.flatnonzero(np.abs(found.scores.numpy() - score) < 1e-5)
        corners = rotated_coders.corners(found.obb[near].double()).numpy()
        gaps = [
            shapely.Polygon(one).symmetric_difference(thing).area / thing.area
            for one, other in zip(corners, found.labels[near].tolist(), strict=True)
            if other == label
        ]
        assert min(gaps) < 1e-3


def test_outputs_that_diverge_end_in_a_loss_not_in_an_error():
    torch.manual_seed(0)
    made = zoo.build(load_recipe("dhrec-r50-soda-a", SMALL).model, 2)
    for bad in (math.nan, math.inf):
        made.head.reg.bias.data.fill_(bad)
        losses = made(batch(target(OBJECTS[0])), random_order(None))
        assert not losses["loss_factor"].isfinite()
        assert losses["loss_cls"].isfinite()


def test_an_upright_object_is_found_whole(detector):
    """The targets of an upright object decode to it; the release makes a diagonal of them."""
    obb = torch.tensor([[30.0, 20.0, 16.0, 10.0, 0.0]])
    around = rotated_coders.enclosing(obb)
    numbers = torch.cat([torch.zeros(1, 8), torch.tensor([[1.0, 0.5, 0.5]])], 1)
    torch.testing.assert_close(detector.decode(around, numbers), obb)


def test_every_gradient_of_the_losses(detector):
    """By finite differences along one direction of the head's weights."""
    images = batch(target(OBJECTS[0]))
    weights = [detector.head.reg.weight, detector.head.cls.weight, detector.head.centerness.weight]
    total = sum(detector(images, random_order(None)).values())
    grads = torch.autograd.grad(total, weights)
    generator = torch.Generator().manual_seed(0)
    for weight, grad in zip(weights, grads, strict=True):
        direction = torch.randn(weight.shape, generator=generator)
        ends = []
        for step in (1e-3, -1e-3):
            weight.data.add_(step * direction)
            losses = detector(images, random_order(None))
            # the confidence's target follows the box, but is a constant for it
            some = [v for n, v in losses.items() if n != "loss_confidence" or weight is weights[2]]
            ends.append(sum(some).item())
            weight.data.add_(-step * direction)
        wanted = (ends[0] - ends[1]) / 2e-3
        assert (grad * direction).sum().item() == pytest.approx(wanted, rel=2e-2, abs=2e-3)


def test_the_confidence_does_not_move_the_box(detector):
    losses = detector(batch(target(OBJECTS[0])), random_order(None))
    reg = detector.head.reg.weight
    (grad,) = torch.autograd.grad(losses["loss_confidence"], reg, allow_unused=True)
    assert grad is None or (grad == 0).all()
    assert F.relu(losses["loss_confidence"]) > 0
