"""DODet's head in the frame of its proposals, its norm, and its place among the detectors."""

import math

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.models import zoo
from sodkit.models.parts import guided_head, rotated_coders
from sodkit.models.parts.guided_head import GuidedHead, RoiNorm
from sodkit.models.parts.sampling import random_order
from sodkit.settings import dodet

STRIDES = (4, 8, 16, 32)
SIDE = 128


def head(seed=0):
    """Return a small head with random values everywhere, running statistics too."""
    torch.manual_seed(seed)
    made = GuidedHead(dodet.GuidedHead(hidden=16), 2, 8, STRIDES).eval()
    for name, value in made.state_dict().items():
        if "var" in name:
            value.uniform_(0.5, 2)
        elif value.is_floating_point():
            value.normal_(std=0.2).add_(value.ndim == 1 and name.endswith("weight"))
    return made


def pyramid(images=1):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(images, 8, SIDE // s, SIDE // s, generator=generator) for s in STRIDES]


def proposals(count=40):
    """Return boxes of all levels whose angle stays canonical when turned by 90 degrees."""
    generator = torch.Generator().manual_seed(1)
    x, y, long, short, angle = torch.rand(5, count, generator=generator)
    w = 6 * 2 ** (5 * long)
    h = w * (0.3 + 0.6 * short)
    return torch.stack([20 + 88 * x, 20 + 88 * y, w, h, -1.5 * angle - 0.02], 1)


def turned(boxes):
    """Turn boxes (N, 5) with the image by 90 degrees, clockwise."""
    x, y, w, h, angle = boxes.unbind(1)
    return torch.stack([SIDE - y, x, w, h, angle + math.pi / 2], 1)


def test_a_turned_image_gives_turned_boxes_and_the_same_classes():
    made, image = head(), torch.zeros(40, dtype=torch.int64)
    levels, boxes = pyramid(), proposals()
    around = [level.rot90(-1, (2, 3)) for level in levels]
    with torch.no_grad():
        plain, other = made(levels, boxes, image), made(around, turned(boxes), image)
    torch.testing.assert_close(plain.deltas, other.deltas, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(plain.logits, other.logits, atol=1e-3, rtol=1e-3)
    assert plain.deltas.std(0).min() > 0.01
    assert plain.logits.std(0).min() > 0.01
    found = made.regression.decode(boxes, plain.deltas[:, 0])
    wanted = made.regression.decode(turned(boxes), other.deltas[:, 0])
    torch.testing.assert_close(
        rotated_coders.corners(turned(found)).sort(1).values,
        rotated_coders.corners(wanted).sort(1).values,
        atol=0.05, rtol=0,
    )  # fmt: skip


def test_classes_follow_from_the_refined_box():
    """What is classified is pooled from the box that the deltas make, not from the proposal."""
    made, image = head(), torch.zeros(40, dtype=torch.int64)
    levels, boxes = pyramid(), proposals()
    with torch.no_grad():
        output = made(levels, boxes, image)
        refined = made.regression.decode(boxes, output.deltas[:, 0])
        wanted = made.classify(made.pool_deformed(levels, made.enlarge(refined), image))
        plain = made.classify(made.pool_deformed(levels, made.enlarge(boxes), image))
    torch.testing.assert_close(output.logits, wanted)
    assert (output.logits - plain).abs().max() > 0.1


def test_the_box_is_not_moved_by_the_classes():
    """The refined box is a constant for the classification, as in the paper's figure."""
    made, image = head().train(), torch.zeros(40, dtype=torch.int64)
    made(pyramid(), proposals(), image).logits.square().sum().backward()
    assert made.fc1.weight.grad.abs().max() > 0
    assert made.reg.weight.grad is None
    assert made.conv1.weight.grad is None


def test_boxes_are_enlarged_about_their_centre():
    boxes = torch.tensor([[5.0, 6.0, 10.0, 4.0, 0.3]])
    torch.testing.assert_close(head().enlarge(boxes), torch.tensor([[5.0, 6.0, 12.0, 5.6, 0.3]]))


def test_rois_are_seen_a_few_at_a_time(monkeypatch):
    made, image = head(), torch.arange(40) % 2
    levels, boxes = pyramid(2), proposals()
    with torch.no_grad():
        together = made.see(levels, boxes, image)
        monkeypatch.setattr(guided_head, "TOGETHER", 7)
        apart = made.see(levels, boxes, image)
        none = made.see(levels, boxes[:0], image[:0])
    torch.testing.assert_close(together.logits, apart.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.deltas, apart.deltas, atol=1e-4, rtol=1e-4)
    assert none.logits.shape == (0, 3)
    assert none.deltas.shape == (0, 1, 5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30])
def test_deltas_that_diverge_end_in_a_loss_not_in_an_error_of_an_index(bad):
    made, image = head(), torch.zeros(40, dtype=torch.int64)
    made.reg.bias.data.fill_(bad)
    output = made(pyramid(), proposals(), image)
    assert output.logits.isfinite().all()
    assert not output.deltas[:, 0, 0].isfinite().all() or output.deltas.abs().min() > 1e20


def test_norm_without_rois_keeps_its_statistics():
    norm = RoiNorm(3)
    norm.running_mean.fill_(2.0)
    result = norm(torch.zeros(0, 3, 5, 5))
    assert result.shape == (0, 3, 5, 5)
    assert (norm.running_mean == 2).all()
    result.sum().backward()
    assert (norm.weight.grad == 0).all()
    some = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    plain = torch.nn.BatchNorm2d(3)
    plain.running_mean.fill_(2.0)
    torch.testing.assert_close(norm(some), plain(some))
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    assert (norm.running_mean < 2).all()


SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.fpn.channels=8",
    "model.roi.hidden=8",
)


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return zoo.build(load_recipe("dodet-r50-soda-a", SMALL).model, 2)


def test_no_proposal_is_left_to_train_on(detector):
    """Where everything is ignored the head gets no RoIs at all."""
    region = torch.tensor([[48.0, 48.0, 400.0, 400.0, 0.4]])
    none = Target(torch.zeros(0, 4), torch.zeros(0).long(), region, torch.zeros(0, 5))
    matches = []
    batch = Batch(
        torch.randn(1, 3, 96, 96), ((96, 96),), ((1.0, 1.0),), (none,), on_match=matches.append
    )
    losses = detector(batch, random_order(None))
    assert (matches[0] == -2).all()
    assert all(value == 0 for value in losses.values())
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, name


def test_ignored_polygons_make_no_negatives(detector):
    """A tilted region: anchors and proposals beside it, within the box around it, are negative."""
    region = torch.tensor([[48.0, 48.0, 110.0, 16.0, 0.7]])
    none = Target(torch.zeros(0, 4), torch.zeros(0).long(), region, torch.zeros(0, 5))
    matches = []
    batch = Batch(
        torch.randn(1, 3, 96, 96), ((96, 96),), ((1.0, 1.0),), (none,), on_match=matches.append
    )
    detector(batch, random_order(None))
    grid = torch.cat(detector.rpn.grid(batch.padded, detector.rpn.levels, batch.images.device))
    small = grid[:, 2:] - grid[:, :2]
    centre = (grid[:, 2:] + grid[:, :2]) / 2 - 48
    across = (centre[:, 1] * math.cos(0.7) - centre[:, 0] * math.sin(0.7)).abs()
    inner = (small.amax(1) < 6) & (centre.abs().amax(1) < 30)
    assert (matches[0][inner & (across < 4)] == -2).all()
    assert (matches[0][inner & (across > 13)] == -1).all()
    boxes = torch.tensor([[48.0, 48.0, 10.0, 6.0, 0.2], [60.0, 30.0, 10.0, 6.0, 0.2]])
    assert detector.roi._match(boxes, none).tolist() == [-2, -1]


def test_the_recipe_is_the_release_with_the_anchors_of_its_siblings():
    model = load_recipe("dodet-r50-soda-a").model
    sibling = load_recipe("oriented-rcnn-r50-soda-a").model
    assert model.anchor_levels() == sibling.anchor_levels()
    assert (model.rpn.nms_test, model.rpn.nms_train) == (0.7, 0.7)
    assert (model.roi.matching.samples, model.roi.matching.positive_share) == (512, 0.25)
    assert model.roi.box.stds == (0.1, 0.1, 0.2, 0.2)
    assert model.roi.box.angle_std == 0.2
