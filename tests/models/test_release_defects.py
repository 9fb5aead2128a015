"""The release's defects, each put back: a check that ours passes and the release's way fails.

The release's ways are small re-implementations from what is known of its behaviour.
"""

from dataclasses import replace

import model_golden as golden
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch
from sodkit.models import zoo
from sodkit.models.parts import coders, contrast, losses, matchers
from sodkit.models.parts.anchors import grid
from sodkit.models.parts.contrast import HIGH, LOW
from sodkit.models.parts.exemplars import Exemplars
from sodkit.models.parts.imitation import Imitation, Rows, Truth
from sodkit.models.parts.sampling import random_order
from sodkit.settings import proposers, two_stage

CONFIG = two_stage.Imitation(queue=8)
OURS_CLIP, OURS_IOU_LOSS = coders.clip, losses.iou_loss
NOTHING = torch.zeros(0, 4)


def fails(check, *release):
    """Assert that the check distinguishes the release's way from ours."""
    with pytest.raises(AssertionError):
        check(*release)


# 1: exemplars


class FallsToOne(Exemplars):
    def push(self, features, labels):
        for feature, label in zip(features, labels, strict=True):
            if self.pushed[label] == self.queue:
                self.pushed[label] = 0
            super().push(feature[None], label[None])


def check_a_full_queue_stays_full(kind):
    queue = kind(2, 256, (1, 1, 1))
    queue.push(torch.arange(257.0).reshape(-1, 1, 1, 1), torch.zeros(257, dtype=torch.int64))
    assert queue.counts.tolist() == [256, 0]


def test_a_full_queue_stays_full():
    check_a_full_queue_stays_full(Exemplars)
    fails(check_a_full_queue_stays_full, FallsToOne)


# 2 and 4: whose features


def pool(boxes, image):
    """Make features that say which box of which image they are of."""
    code = torch.cat([boxes / 100, image[:, None] + 1.0], 1)
    return code.repeat(1, 7)[:, :32, None, None].expand(-1, -1, 7, 7)


TRUTH = Truth(
    boxes=torch.tensor(
        [[0.0, 0, 20, 10], [30, 30, 40, 60], [5, 5, 9, 9], [50, 0, 60, 20], [7, 40, 19, 50]]
    ),
    labels=torch.tensor([0, 1, 2, 0, 1]),
    image=torch.tensor([0, 0, 0, 1, 1]),
    counts=(3, 2),
)
GROUP = torch.tensor([HIGH, LOW, LOW, HIGH, HIGH])


def crowd():
    """Return rows in which three of five objects were sampled, in another order."""
    gt = torch.tensor([4, 0, 2, 1, 3, -1, -1])
    some = torch.tensor([30.0, 30, 42, 61])
    boxes = torch.where((gt >= 0)[:, None], TRUTH.boxes[gt], some)
    boxes[3:5] += 1
    image = torch.tensor([1, 0, 0, 0, 1, 0, 1])
    return Rows(
        image=image,
        labels=torch.where(gt >= 0, TRUTH.labels[gt], 4),
        gt=gt,
        positives=torch.nonzero(gt >= 0)[:, 0],
        added=torch.arange(7) < 3,
        features=pool(boxes, image),
        compressed=None,
        probabilities=torch.full((7, 5), 0.2),
        iou=torch.ones(7),
        host_image=image,
    )


class FirstImage(Imitation):
    def table(self, rows, truth, group, pool):
        return super().table(rows, truth, group, lambda b, i: pool(b, torch.zeros_like(i)))


class NumbersAsRows(Imitation):
    def table(self, rows, truth, group, pool):
        table = super().table(rows, truth, group, pool)
        return replace(table, own=torch.arange(len(truth.labels)))


def check_copies_are_of_their_own_image(kind):
    found = kind(CONFIG, 4, 32, 7).table(crowd(), TRUTH, GROUP, pool)
    copies = found.samples.source >= 0
    features = found.extra[copies[len(crowd().gt) :]]
    assert torch.equal(features[:, 4, 0, 0] - 1, TRUTH.image[found.samples.source[copies]].float())


def check_every_object_has_its_own_features(kind):
    rows = crowd()
    found = kind(CONFIG, 4, 32, 7).table(rows, TRUTH, GROUP, pool)
    own = torch.cat([rows.features, found.extra])[found.own]
    assert torch.equal(own, pool(TRUTH.boxes, TRUTH.image))


def test_copies_are_of_their_own_image():
    check_copies_are_of_their_own_image(Imitation)
    fails(check_copies_are_of_their_own_image, FirstImage)


def test_every_object_of_a_crowd_has_its_own_features():
    check_every_object_has_its_own_features(Imitation)
    fails(check_every_object_has_its_own_features, NumbersAsRows)


# 3: copies


def swapped_sides(boxes, config):
    """Shift x by parts of the height and y by parts of the width."""
    turned = turned_boxes(boxes)
    return contrast.copies(turned, config) + (boxes - turned)[:, None]


def turned_boxes(boxes):
    """Return boxes about the same centres with width and height exchanged."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return torch.cat([centre - half.flip(1), centre + half.flip(1)], 1)


def dealt_round(boxes, config):
    """Deal the rescaled copies one to each object in turn, instead of each its own."""
    right = contrast.copies(boxes, config)
    scaled = right[:, -2:].transpose(0, 1).reshape(len(boxes), 2, 4)
    return torch.cat([right[:, :-2], scaled], 1)


def check_copies(copies):
    boxes = torch.tensor([[0.0, 0, 40, 10], [100, 100, 110, 130], [7, 7, 9, 30]])
    for box, found in zip(boxes, copies(boxes, CONFIG), strict=True):
        shift = (found[:, :2] + found[:, 2:] - box[:2] - box[2:]) / 2
        share = shift / (box[2:] - box[:2])
        assert share.abs().amax() <= 0.5 + 1e-5
        assert share.abs().amax(0).tolist() == pytest.approx([0.5, 0.5], abs=1e-5)


def test_copies_move_by_their_own_sides_and_stay_with_their_object():
    check_copies(contrast.copies)
    fails(check_copies, swapped_sides)
    fails(check_copies, dealt_round)


# 5: the mean


class CountsAll(Imitation):
    def average(self, each, counted, image, *step):
        return super().average(each, torch.ones_like(counted), image, *step)


def check_only_objects_with_positives_count(kind):
    each, image = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0, 0, 1])
    counted = torch.tensor([True, False, False])
    assert kind(CONFIG, 4, 32, 7).average(each, counted, image).item() == 2


def test_only_objects_with_positives_count():
    check_only_objects_with_positives_count(Imitation)
    fails(check_only_objects_with_positives_count, CountsAll)


# 6: images of different size


def clip_by_height(boxes, size):
    return OURS_CLIP(boxes, (size[0], size[0]))


def check_boxes_stay_inside(clip):
    boxes = torch.tensor([[-5.0, -5, 300, 300]])
    assert clip(boxes, (100, 60)).tolist() == [[0, 0, 60, 100]]
    assert clip(boxes, (60, 100)).tolist() == [[0, 0, 100, 60]]


def test_boxes_stay_inside_of_images_that_are_no_squares():
    check_boxes_stay_inside(coders.clip)
    fails(check_boxes_stay_inside, clip_by_height)


SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.fpn.channels=32",
    "model.roi.hidden=64",
)


def detector(*overrides):
    torch.manual_seed(0)
    return zoo.build(load_recipe("cfinet-r50-soda-d", [*SMALL, *overrides]).model, 3)


def check_refined_boxes_stay_inside():
    """Two images in one batch, each clipped to its own size."""
    model, sizes = detector(), ((96, 64), (50, 128))
    images = Batch(torch.randn(2, 3, 96, 128), sizes, ((1.5, 1.5),) * 2)
    pyramid = golden.pyramid(model, images.images)
    refined = torch.cat(model.crpn.coarse(pyramid, images).refined, 1)
    for boxes, (height, width) in zip(refined, sizes, strict=True):
        assert boxes.amin() >= 0
        assert boxes[:, 0::2].amax() <= width
        assert boxes[:, 1::2].amax() <= height


def test_refined_boxes_of_each_image_stay_inside(monkeypatch):
    check_refined_boxes_stay_inside()
    monkeypatch.setattr(coders, "clip", clip_by_height)
    fails(check_refined_boxes_stay_inside)


# 7: ignore regions


def without_ignored(match):
    return lambda anchors, boxes, ignored, *rest: match(anchors, boxes, NOTHING, *rest)


def dynamic(anchors, boxes, ignored):
    return matchers.match_dynamic(anchors, boxes, ignored, torch.full((len(boxes),), 0.25))


def region(anchors, boxes, ignored):
    rule = proposers.Region()
    return matchers.match_region(anchors, boxes, ignored, rule, 2.0, (4, 8, 16, 32))


def by_iou(anchors, boxes, ignored, rule):
    low = getattr(rule, "low_quality", None)
    return matchers.match_iou(
        anchors, boxes, ignored, positive=rule.positive, negative=rule.negative, low_quality=low
    )


def fine(anchors, boxes, ignored):
    return by_iou(anchors, boxes, ignored, proposers.Crpn().fine)


def plain(anchors, boxes, ignored):
    return by_iou(anchors, boxes, ignored, proposers.Rpn().matching)


def head(anchors, boxes, ignored):
    return by_iou(anchors, boxes, ignored, two_stage.RoiHead().matching)


def check_nothing_is_learned_in_a_region(match):
    anchors = torch.cat(grid((96, 96), golden.levels_of(4, 2.0)))
    found = match(
        anchors, torch.tensor([[40.0, 40, 56, 56]]), torch.tensor([[32.0, 32, 64, 64]])
    ).gt
    overlap = torch.minimum(anchors[:, 2:], torch.tensor(64.0)) - anchors[:, :2].clamp(min=32)
    area = (anchors[:, 2:] - anchors[:, :2]).prod(1)
    inside = overlap.clamp(min=0).prod(1) > area / 2
    assert inside.sum() > 50
    assert (found[inside] == matchers.IGNORED).all()
    assert (found[~inside] != matchers.IGNORED).any()


@pytest.mark.parametrize("match", [dynamic, region, fine, plain, head])
def test_ignore_regions_reach_every_assigner(match):
    check_nothing_is_learned_in_a_region(match)
    fails(check_nothing_is_learned_in_a_region, without_ignored(match))


def test_an_object_inside_an_ignore_region_still_teaches_the_head():
    """Regions silence anchors and proposals; an object's own box is neither, it is the truth.

    Splitting keeps such objects visible where it fills the region around them, and evaluation
    counts them. Proposals that overlap the object are left out all the same.
    """
    model = detector()
    target = golden.target([[40, 40, 56, 56]], [1], ignore=[[32, 32, 64, 64]])
    near = torch.tensor([[40.0, 40, 56, 57], [70, 70, 90, 90]])
    proposals = [as_proposals(near)]
    found = model.roi.sample(proposals, (target,), golden.in_order)
    assert found.added.tolist() == [True, False]
    assert found.labels.tolist() == [1, 3]
    assert found.boxes[1].tolist() == [70, 70, 90, 90]


def as_proposals(boxes):
    from sodkit.models.parts.selection import Proposals

    return Proposals(boxes, torch.ones(len(boxes)))


# 8: tiny objects


def without_best(*args, **options):
    return matchers.match_dynamic(*args, **(options | {"match_best": False}))


def check_the_smallest_object_is_learned(match):
    anchors = torch.cat(grid((96, 96), golden.levels_of(4, 2.0)))
    tiny = torch.tensor([[41.0, 41, 44, 44]])
    threshold = matchers.dynamic_threshold(proposers.Threshold(floor=0.2), torch.tensor([2.0]))
    assert (match(anchors, tiny, NOTHING, threshold, match_best=True).gt == 0).any()


def test_the_smallest_object_is_learned():
    check_the_smallest_object_is_learned(matchers.match_dynamic)
    fails(check_the_smallest_object_is_learned, without_best)


# 9: the first anchors


def wrong_index(boxes, targets):
    """Lose the first two positives, as the release does where they are anchors 0 and 1."""
    return OURS_IOU_LOSS(boxes[2:], targets[2:])


def check_the_first_anchors_are_trained(monkeypatch, loss):
    model, corner = detector(), golden.target([[0, 0, 4, 4]])
    images = Batch(torch.randn(1, 3, 96, 96), ((96, 96),), ((1.5, 1.5),), (corner,))
    with monkeypatch.context() as patch:
        patch.setattr("sodkit.models.parts.crpn.losses.iou_loss", loss)
        coarse = model.crpn.coarse(golden.pyramid(model, images.images), images)
        value = model.crpn.coarse_loss(coarse, images)
    gradient = torch.autograd.grad(value, coarse.deltas[0])[0][0]
    assert (gradient[:2].abs().sum(1) > 0).all()


def test_the_first_anchors_are_trained(monkeypatch):
    check_the_first_anchors_are_trained(monkeypatch, losses.iou_loss)
    with pytest.raises(AssertionError):
        check_the_first_anchors_are_trained(monkeypatch, wrong_index)


# images without objects


class PlainMean(Imitation):
    def loss(self, rows, truth, pool, shuffle, step):
        return (
            super().loss(rows, truth, pool, shuffle, step)
            if len(truth.boxes)
            else truth.boxes.mean()
        )


def check_images_without_objects(kind):
    model = detector()
    model.imitation.__class__ = kind
    none = golden.target([])
    images = Batch(torch.randn(2, 3, 96, 96), ((96, 96),) * 2, ((1.5, 1.5),) * 2, (none, none))
    values = model(images, random_order(torch.Generator().manual_seed(0)))
    for name, value in values.items():
        assert torch.isfinite(value), name
        if name not in {"loss_fine_cls", "loss_cls"}:
            assert value == 0, name


def test_images_without_objects():
    check_images_without_objects(Imitation)
    fails(check_images_without_objects, PlainMean)
