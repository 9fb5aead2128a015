import model_golden as golden
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch
from sodkit.models import zoo
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.matchers import IGNORED
from sodkit.settings import Keep

SMALL = (
    "model.backbone.name=resnet18", "model.backbone.weights=null", "model.channels=16",
    "model.hidden=16",
)  # fmt: skip
SHAPE = torch.Size((1, 3, 16, 16))


def build():
    torch.manual_seed(0)
    return zoo.build(load_recipe("centernet-r50-soda-d", SMALL).model, 3)


def batch(*targets, side=64):
    images = torch.randn(len(targets), 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return Batch(images, ((side, side),) * len(targets), ((1.0, 1.0),) * len(targets), targets)


def test_of_two_objects_in_a_cell_the_last_is_learnt():
    # their middles are (9, 9) and (10, 11): cell (2, 2) of stride 4
    target = golden.target([[4, 4, 14, 14], [5, 5, 15, 17], [40, 40, 50, 50]], [0, 1, 2])
    detector, given = build(), batch(target)
    centres = detector.centres(given, SHAPE)
    assert centres.cell.tolist() == [[2, 2], [2, 2], [11, 11]]
    assert centres.learnt.tolist() == [False, True, True]
    assert centres.match[0, 2 * 16 + 2] == 1
    torch.testing.assert_close(centres.offset[1], torch.tensor([0.5, 0.75]))
    torch.testing.assert_close(centres.size[1], torch.tensor([2.5, 3.0]))
    heat = detector.heat(centres, SHAPE)
    assert (heat == 1).nonzero().tolist() == [[0, 0, 2, 2], [0, 1, 2, 2], [0, 2, 11, 11]]


def test_of_an_object_the_part_in_its_image_is_learnt():
    rows = [[60, -20, 90, 8], [70, 0, 90, 8], [-30, 10, -2, 20], [8, 8, 16, 16]]
    given = batch(golden.target(rows, [0, 1, 1, 2]))
    centres = build().centres(given, SHAPE)
    # of the first 60..64 x 0..8 is seen, of the second and the third nothing
    assert centres.cell.tolist() == [[15, 1], [3, 3]]
    torch.testing.assert_close(centres.size, torch.tensor([[1.0, 2.0], [2.0, 2.0]]))
    assert (centres.match >= 0).nonzero()[:, 1].tolist() == [16 + 15, 3 * 16 + 3]
    assert centres.match.max() == 3


def test_a_cell_in_an_ignore_region_is_neither_positive_nor_negative():
    rows, labels = [[4, 4, 14, 14], [40, 40, 50, 50]], [0, 2]
    detector = build()
    given = batch(golden.target(rows, labels, [[38, 38, 52, 52]]))
    centres = detector.centres(given, SHAPE)
    assert centres.learnt.tolist() == [True, False]
    match = centres.match.reshape(16, 16)
    # cells whose middles (4 x + 2) are in 38..52
    assert (match == IGNORED).nonzero().tolist() == [
        [y, x] for y in range(9, 13) for x in range(9, 13)
    ]
    output = detector.train().see(given.images)
    output.logits.retain_grad()
    output.size.retain_grad()
    detector.see = lambda images: output
    sum(detector(given, golden.in_order).values()).backward()
    inside = (match == IGNORED)[None].expand(3, -1, -1)
    assert (output.logits.grad[0][inside] == 0).all()
    assert (output.logits.grad[0][~inside] != 0).all()
    assert output.size.grad[0].abs().sum(0).nonzero().tolist() == [[2, 2]]


def test_an_object_in_a_region_is_not_counted():
    one = golden.target([[4, 4, 14, 14]], [0])
    both = golden.target([[4, 4, 14, 14], [40, 40, 50, 50]], [0, 2], [[38, 38, 52, 52]])
    losses = [build()(batch(target), golden.in_order) for target in (one, both)]
    for name in ("loss_size", "loss_offset"):
        torch.testing.assert_close(losses[0][name], losses[1][name])


def test_padding_that_the_batch_adds_is_not_learnt_from():
    centres = build().centres(batch(golden.target([[4, 4, 14, 14]]), side=30), SHAPE)
    match = centres.match.reshape(16, 16)
    assert (match[:8, :8] != IGNORED).all()
    assert (match[8:] == IGNORED).all()
    assert (match[:, 8:] == IGNORED).all()
    assert int((match >= 0).sum()) == 1
    assert int((match == NEGATIVE).sum()) == 63


def test_nothing_is_detected_beyond_the_image():
    detector = build().eval()
    with torch.no_grad():
        detector.head.size[2].bias.fill_(2.0)  # boxes of two cells, so that none is empty
    (found,) = detector.detect(batch(golden.target([]), side=30), Keep(score=0))
    assert len(found.boxes) > 5
    assert found.boxes.max() <= 30
    middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    assert (middle < 30).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_every_class_begins_with_the_prior():
    bias = build().head.heatmap[2].bias
    torch.testing.assert_close(bias.sigmoid(), torch.full((3,), 0.1))


def test_targets_must_be_as_many_as_images():
    given = batch(golden.target([]), golden.target([]))
    with pytest.raises(ValueError, match="1 targets for 2 images"):
        build()(Batch(given.images, given.sizes, given.scales, given.targets[:1]), golden.in_order)
