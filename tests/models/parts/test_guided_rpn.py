"""GA-RPN's targets against slow loops, ignore regions, and what the location score decides."""

import math

import model_golden as golden
import pytest
import torch

from sodkit.data.batches import Batch
from sodkit.models.parts import anchors, coders, losses, matchers
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.box_iou import every_iou
from sodkit.models.parts.guided_rpn import GuidedRpn
from sodkit.models.parts.ignored import inside
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.sampling import random_order
from sodkit.settings.proposers import Guided

STRIDES = (4, 8, 16)
SIZE = (96, 128)
OBJECTS = golden.target([[10, 12, 30, 25], [14, 14, 22, 24], [70, 5, 76, 13], [40, 20, 110, 90]])


def build(**settings):
    torch.manual_seed(0)
    rpn = GuidedRpn(Guided(**settings), 32, STRIDES)
    # at the start all locations are as unlikely, and all anchors are squares
    torch.nn.init.normal_(rpn.location.weight, std=3.0)
    torch.nn.init.zeros_(rpn.location.bias)
    torch.nn.init.normal_(rpn.shape.weight, std=0.5)
    return rpn


def given(*targets, size=SIZE):
    images = torch.zeros(len(targets), 3, *size)
    return Batch(images, (size,) * len(targets), ((1.0, 1.0),) * len(targets), targets)


def features(batch):
    height, width = batch.padded
    rng = torch.Generator().manual_seed(3)
    shapes = [(math.ceil(height / s), math.ceil(width / s)) for s in STRIDES]
    return [torch.randn(len(batch.sizes), 32, *shape, generator=rng) for shape in shapes]


@pytest.fixture
def rpn():
    return build()


def squares_of(rpn):
    return torch.cat(anchors.grid(SIZE, rpn.levels))


def shapes_of(rpn):
    return torch.cat(anchors.grid(SIZE, rpn.shape_levels)).reshape(len(squares_of(rpn)), -1, 4)


def slow_locations(boxes):
    """Paint object by object on maps, as the original does."""
    sizes = [(math.ceil(SIZE[0] / s), math.ceil(SIZE[1] / s)) for s in STRIDES]
    target = [torch.full(size, NEGATIVE) for size in sizes]
    weight = [torch.full(size, -1.0) for size in sizes]
    beside = [torch.zeros(size, dtype=torch.bool) for size in sizes]

    def region(box, level, share):
        outer = (1 - share) / 2
        x1, y1, x2, y2 = (box / STRIDES[level]).unbind()
        low_x, high_x = ((1 - r) * x1 + r * x2 for r in (outer, 1 - outer))
        low_y, high_y = ((1 - r) * y1 + r * y2 for r in (outer, 1 - outer))
        rows, columns = (slice(round(float(a)), round(float(b)) + 1)
                         for a, b in ((low_y, high_y), (low_x, high_x)))  # fmt: skip
        return rows, columns

    for number, box in enumerate(boxes):
        side = float((box[2:] - box[:2]).prod().sqrt())
        own = min(max(math.floor(math.log2(side / 8) + 0.5), 0), len(STRIDES) - 1)
        weight[own][region(box, own, 0.5)] = 0.0
        weight[own][region(box, own, 0.2)] = 1.0
        target[own][region(box, own, 0.2)] = number
        for level in {own - 1, own + 1} & set(range(len(STRIDES))):
            beside[level][region(box, level, 0.5)] = True
    found = []
    for number, value, near in zip(target, weight, beside, strict=True):
        free = torch.where(near, IGNORED, NEGATIVE)
        found.append(torch.where(value == 1, number, torch.where(value == 0, IGNORED, free)))
    return torch.cat([level.flatten() for level in found])


def crowd(count):
    rng = torch.Generator().manual_seed(count)
    corner = torch.rand(count, 2, generator=rng) * torch.tensor([80.0, 50.0])
    boxes = torch.cat([corner, corner + 3 + 40 * torch.rand(count, 2, generator=rng) ** 2], 1)
    return golden.target(((4 * boxes).round() / 4).tolist())


@pytest.mark.parametrize(
    "target", [OBJECTS, golden.target([]), crowd(40)], ids=["few", "none", "crowd"]
)
def test_locations_as_painted(rpn, target):
    found = rpn.match_location(squares_of(rpn), target)
    assert torch.equal(found, slow_locations(target.boxes))


def test_shapes_are_matched_by_the_best_of_nine(rpn):
    squares, shapes = squares_of(rpn), shapes_of(rpn)
    assert shapes.shape[1] == 9
    best = torch.stack([every_iou(OBJECTS.boxes, nine).amax(1) for nine in shapes], 1)
    found = rpn.match_shape(squares, shapes, OBJECTS)
    want = torch.full_like(found, IGNORED).masked_fill(best.amax(0) < 0.3, NEGATIVE)
    want = torch.where(best.amax(0) >= 0.7, best.argmax(0), want)
    for number, row in enumerate(best):
        want = torch.where((row == row.max()) & (row >= 0.3), number, want)
    assert torch.equal(found, want)
    assert len(found[found >= 0].unique()) >= 3


def test_in_blocks_or_at_once(rpn, monkeypatch):
    target, squares, shapes = crowd(40), squares_of(rpn), shapes_of(rpn)
    at_once = rpn.match_shape(squares, shapes, target), rpn.match_location(squares, target)
    monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", 3 * len(squares))
    found = rpn.match_shape(squares, shapes, target), rpn.match_location(squares, target)
    assert all(torch.equal(a, b) for a, b in zip(at_once, found, strict=True))


REGION = [[5, 5, 60, 60]]


@pytest.mark.parametrize("which", ["location", "shape", "guided"])
def test_in_a_region_neither_positive_nor_negative(rpn, which):
    """Whether an anchor or a location is in a region: by the guided box, or by the square."""
    boxes = OBJECTS.boxes.tolist()
    squares, without = squares_of(rpn), golden.target(boxes)
    target = golden.target(boxes, ignore=REGION)
    if which == "guided":
        batch = given(without)
        squares = torch.cat(rpn(features(batch), batch).scored.anchors, 1)[0]
        match = lambda t: rpn.match(squares, t, SIZE)  # noqa: E731
    elif which == "shape":
        match = lambda t: rpn.match_shape(squares, shapes_of(rpn), t)  # noqa: E731
    else:
        match = lambda t: rpn.match_location(squares, t)  # noqa: E731
    hidden = inside(squares, target.ignore_boxes)
    assert (match(without)[hidden] >= 0).any()
    assert (match(without)[hidden] == NEGATIVE).any()
    assert (match(target)[hidden] == IGNORED).all()
    outside = match(target)[~hidden]
    assert set(outside.tolist()) > {NEGATIVE}


def test_what_lies_in_a_region_has_no_loss():
    """With all in a region no location, shape or score has a gradient, and no loss a value."""
    rpn = build()
    batch = given(golden.target(OBJECTS.boxes.tolist(), ignore=[[-900, -900, 999, 999]]))
    found = rpn.losses(rpn(features(batch), batch), batch, random_order(None))
    assert {name: value.item() for name, value in found.items()} == {
        "loss_location": 0, "loss_shape": 0, "loss_rpn_cls": 0, "loss_rpn_reg": 0
    }  # fmt: skip
    sum(found.values()).backward()
    for name, parameter in rpn.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


@pytest.mark.parametrize(
    ("location", "centres"), [("centres", True), ("released", False), ("inverted", False)]
)
def test_what_the_location_learns(location, centres):
    rpn = build(location=location)
    batch = given(OBJECTS)
    output = rpn(features(batch), batch)
    loss = rpn.location_loss(output, batch)
    gradient = torch.cat(torch.autograd.grad(loss, output.location), 1)[0]
    gt = rpn.match_location(squares_of(rpn), OBJECTS)
    assert ((gradient[gt >= 0] < 0) == centres).all()
    assert ((gradient[gt == NEGATIVE] > 0) == centres).all()
    assert (gradient[gt == IGNORED] == 0).all()


def test_location_loss_by_hand(rpn):
    batch = given(OBJECTS, golden.target([]))
    output = rpn(features(batch), batch)
    total = 0.0
    for image, target in enumerate(batch.targets):
        gt = rpn.match_location(squares_of(rpn), target).tolist()
        for number, logit in zip(gt, torch.cat(output.location, 1)[image].tolist(), strict=True):
            p = 1 / (1 + math.exp(-logit))
            if number >= 0:
                total -= 0.25 * (1 - p) ** 2 * math.log(p)
            elif number == NEGATIVE:
                total -= 0.1 * 0.75 * p**2 * math.log(1 - p)
    count = 2 * len(squares_of(rpn))
    assert rpn.location_loss(output, batch).item() == pytest.approx(total * 200 / count, rel=1e-4)


@pytest.mark.parametrize("location", ["centres", "released", "inverted"])
def test_unlikely_locations_give_no_proposals_when_testing(location):
    rpn = build(location=location, location_threshold=0.5).eval()
    batch = given(golden.target([]))
    output = rpn(features(batch), batch)
    score = torch.cat(output.location, 1).sigmoid()[0]
    likely = 1 - score if location == "inverted" else score
    assert torch.equal(torch.cat(rpn.likely(output), 1)[0], likely >= 0.5)
    scored = output.scored
    anchors, deltas = (torch.cat(one, 1)[0] for one in (scored.anchors, scored.deltas))
    allowed = coders.clip(coders.decode(anchors, deltas, rpn.config.stds), SIZE)[likely >= 0.5]
    (found,) = rpn.select(output, batch, limit=10**6)
    near = (found.boxes[:, None] - allowed).abs().amax(2).amin(1)
    assert near.max() < 1e-3
    assert (found.scores > 0).all()
    (all_of_them,) = rpn.train().select(output, batch, limit=10**6)
    assert len(all_of_them.boxes) > len(found.boxes)


def test_anchors_keep_their_centres_and_get_no_gradient_from_scores(rpn):
    batch = given(OBJECTS)
    output = rpn(features(batch), batch)
    guided = torch.cat(output.scored.anchors, 1)[0]
    centre, size = coders.centre_and_size(guided)
    at, side = coders.centre_and_size(squares_of(rpn))
    torch.testing.assert_close(centre, at, atol=1e-3, rtol=0)
    want = side * (0.14 * torch.cat(output.shapes, 1)[0]).exp()
    torch.testing.assert_close(size, want, atol=1e-3, rtol=1e-4)
    found = rpn.losses(output, batch, random_order(None))
    scores = found["loss_rpn_cls"] + found["loss_rpn_reg"]
    assert all(g is None for g in torch.autograd.grad(
        scores, [rpn.shape.weight, rpn.location.weight], allow_unused=True, retain_graph=True
    ))  # fmt: skip
    assert torch.autograd.grad(scores, rpn.offset.weight)[0].abs().max() > 0


def test_bounded_iou():
    box, wanted = golden.target([[10, 10, 20, 26], [0, 0, 8, 8]]).boxes, OBJECTS.boxes[:2]
    total = 0.0
    for (x1, y1, x2, y2), (u1, v1, u2, v2) in zip(box.tolist(), wanted.tolist(), strict=True):
        for low, high, left, right in ((x1, x2, u1, u2), (y1, y2, v1, v2)):
            shift, side, own = abs(left + right - low - high), right - left, high - low
            terms = (
                1 - max(0, (side - shift) / (side + shift + 1e-3)),
                1 - min(own / (side + 1e-3), side / (own + 1e-3)),
            )
            total += sum(t * t / 0.4 if t < 0.2 else t - 0.1 for t in terms)
    assert losses.bounded_iou(box, wanted).item() == pytest.approx(total, rel=1e-5)
    assert losses.bounded_iou(wanted, wanted).item() < 1e-6
    assert losses.bounded_iou(box[:0], wanted[:0]).item() == 0


def test_beside_an_object_on_the_next_level():
    """Cascade RPN ignores all in the outer region there, GA-RPN what no other object claims."""
    boxes = torch.tensor([[8.0, 8.0, 40.0, 40.0], [16.0, 16.0, 32.0, 32.0]])
    how = (squares_of(build()), boxes, torch.zeros(0, 4), Guided().region, 2.0, STRIDES)
    every = matchers.match_region(*how).gt
    claimed = matchers.match_region(*how, beside="negatives").gt
    assert not (every == 1).any()
    assert (claimed == 1).any()
    assert torch.equal(every[claimed < 0], claimed[claimed < 0])
    assert torch.equal(every[every >= 0], claimed[every >= 0])
