"""Feature imitation on features that encode the box they were pooled from."""

import model_golden as golden
import pytest
import torch

from sodkit.models.parts.contrast import HIGH, LOW
from sodkit.models.parts.imitation import Imitation, Rows, Truth
from sodkit.settings import two_stage

CLASSES, CHANNELS = 4, 32


def pool(boxes, image):
    """Make features that differ by box and image."""
    code = torch.cat([boxes / 100, image[:, None] + 1.0], 1)
    plane = torch.linspace(0.5, 1.5, 49).reshape(1, 1, 7, 7)
    return (code.repeat(1, 7)[:, :CHANNELS, None, None] * plane).requires_grad_()


def build(**settings_):
    torch.manual_seed(0)
    config = two_stage.Imitation(queue=8, **settings_)
    return Imitation(config, CLASSES, CHANNELS, 7)


def truth(count=4, images=2):
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(count, 2, generator=generator) * 80
    boxes = torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=generator) * 9], 1)
    number = torch.arange(count)
    image = number * images // count
    return Truth(boxes, number % CLASSES, image, tuple(torch.bincount(image).tolist()))


def rows(objects, added, good=0.0, proposals=10):
    """Make the own rows of objects ``added``, some proposals for each, and background."""
    count = len(objects.labels)
    gt = torch.cat(
        [added, torch.arange(count).repeat_interleave(proposals), torch.full((2 * 6,), -1)]
    )
    image = torch.cat([objects.image[gt[gt >= 0]], torch.tensor([0, 1]).repeat_interleave(6)])
    labels = torch.where(gt >= 0, objects.labels[gt], CLASSES)
    boxes = torch.where((gt >= 0)[:, None], objects.boxes[gt], torch.tensor([0, 0, 9, 9.0]))
    own = torch.arange(len(gt)) < len(added)
    boxes = boxes + (~own[:, None]) * 0.3
    scores = torch.full((len(gt), CLASSES + 1), 0.01)
    scores[torch.arange(len(gt)), labels] = 0.96
    return Rows(
        image=image,
        labels=labels,
        gt=gt,
        positives=torch.nonzero(gt >= 0)[:, 0],
        added=own,
        features=pool(boxes, image),
        compressed=None,
        probabilities=scores,
        iou=torch.full((len(gt),), good),
        host_image=image,
    )


def test_quality_is_the_mean_of_score_times_iou():
    model, objects = build(), truth(2, 1)
    table = rows(objects, torch.tensor([0, 1]), proposals=3)
    probabilities = torch.full_like(table.probabilities, 0.0)
    probabilities[:, CLASSES] = 1.0
    probabilities[2, 0], probabilities[2, CLASSES] = 0.8, 0.2  # arg max
    probabilities[3, 0], probabilities[3, CLASSES] = 0.3, 0.7  # score only
    probabilities[0, 0] = 1.0  # the object's own row: does not count
    iou = torch.full_like(table.iou, 0.5)
    table = Rows(
        table.image,
        table.labels,
        table.gt,
        table.positives,
        table.added,
        table.features,
        None,
        probabilities,
        iou,
        table.host_image,
    )
    iq, count = model.quality(table, 2)
    torch.testing.assert_close(iq, torch.tensor([0.4, 0.0]))
    assert count.tolist() == [1, 0]
    iq, count = build(iq_members="score").quality(table, 2)
    torch.testing.assert_close(iq, torch.tensor([(0.4 + 0.15) / 2, 0.0]))
    assert count.tolist() == [2, 0]


def test_in_a_crowd_every_object_has_its_own_features():
    """Defect 4: of six objects three were sampled, in another order than they are numbered."""
    model, objects = build(), truth(6)
    table = rows(objects, torch.tensor([4, 0, 3]))
    group = torch.tensor([LOW, HIGH, LOW, LOW, HIGH, LOW])
    found = model.table(table, objects, group, pool)
    own = torch.cat([table.features, found.extra])[found.own]
    assert torch.equal(own, pool(objects.boxes, objects.image))
    assert torch.equal(found.samples.labels[found.own], objects.labels)
    assert torch.equal(found.samples.image[found.own], objects.image)


def test_copies_come_from_their_own_image():
    """Defect 2: the release pools those of every image from the first."""
    model, objects = build(), truth(4)
    table = rows(objects, torch.arange(4), good=0.9)
    calls = []
    model.loss(table, objects, lambda b, i: calls.append((b, i)) or pool(b, i), golden.in_order)
    ((boxes, image),) = calls
    assert len(boxes) == 40
    assert torch.equal(image, objects.image.repeat_interleave(10))
    centre = (boxes[:, :2] + boxes[:, 2:]).reshape(4, 10, 2).mean(1) / 2
    torch.testing.assert_close(centre, (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2)


@pytest.mark.parametrize("reweight", [False, True])
def test_objects_of_high_quality_become_exemplars(reweight):
    model, objects = build(reweight=reweight), truth(4)
    table = rows(objects, torch.tensor([1, 2]), good=0.9)
    if reweight:
        with torch.no_grad():
            compressed = model.feat2embed.compress(table.features)
        table = Rows(
            table.image,
            table.labels,
            table.gt,
            table.positives,
            table.added,
            table.features,
            compressed,
            table.probabilities,
            table.iou,
            table.host_image,
        )
    model.loss(table, objects, pool, golden.in_order)
    assert model.exemplars.counts.tolist() == [1, 1, 1, 1]
    want = pool(objects.boxes, objects.image)
    if reweight:
        want = model.reweight(want, model.feat2embed.compress(want))
    held = model.exemplars.get(*torch.nonzero(model.exemplars.held(), as_tuple=True))
    torch.testing.assert_close(held, want.detach(), atol=1e-2, rtol=1e-2)


def test_without_exemplars_there_is_nothing_to_imitate():
    model, objects = build(), truth(4)
    loss = model.loss(rows(objects, torch.arange(4)), objects, pool, golden.in_order)
    loss.backward()
    assert loss.item() == 0
    assert all((p.grad == 0).all() for p in model.parameters())


def test_without_objects_the_loss_is_zero_and_trains_nothing():
    model, nothing = (
        build(),
        Truth(torch.zeros(0, 4), *[torch.zeros(0, dtype=torch.int64)] * 2, (0,)),
    )
    loss = model.loss(rows(truth(4), torch.arange(4)), nothing, pool, golden.in_order)
    loss.backward()
    assert loss.item() == 0
    assert all((p.grad == 0).all() for p in model.parameters())


def test_only_objects_with_positives_count(monkeypatch):
    """Defect 5: three of four classes have no exemplars."""
    model, objects = build(), truth(4)
    model.exemplars.push(torch.randn(3, CHANNELS, 7, 7), torch.zeros(3, dtype=torch.int64))
    seen = []
    average = model.average
    monkeypatch.setattr(model, "average", lambda *a: seen.append(a) or average(*a))
    loss = model.loss(rows(objects, torch.arange(4)), objects, pool, golden.in_order)
    ((each, counted, *_),) = seen
    assert counted.tolist() == [True, False, False, False]
    assert loss.item() > 0
    torch.testing.assert_close(loss, 0.5 * each[0])


@pytest.mark.parametrize("gradient", ["none", "projection"])
def test_what_exemplars_train(gradient):
    """Only exemplars get a gradient here: everything else is detached."""
    model = build(exemplar_gradient=gradient)
    model.exemplars.push(torch.randn(2, CHANNELS, 7, 7), torch.zeros(2, dtype=torch.int64))
    values = model._teach(*torch.nonzero(model.exemplars.held(), as_tuple=True))
    assert values.requires_grad == (gradient == "projection")
    if gradient == "projection":
        values.sum().backward()
        assert model.feat2embed.convs[0].weight.grad is None
        assert model.feat2embed.fc_enc[0].weight.grad is not None


def test_average_is_over_objects_then_images():
    each = torch.tensor([1.0, 3.0, 5.0, 7.0])
    counted = torch.tensor([True, True, True, False])
    image = torch.tensor([0, 0, 1, 1])
    assert build().average(each, counted, image).item() == pytest.approx((2 + 5) / 2)
    alone = torch.tensor([False, False, True, True])
    assert build().average(each, alone, image).item() == pytest.approx(6)
    last = torch.tensor([5])  # more images than objects
    assert build().average(each[:1], counted[:1], last).item() == pytest.approx(1)
