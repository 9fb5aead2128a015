import model_golden as golden
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch
from sodkit.errors import UsageError
from sodkit.models import yolox, zoo
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.matchers import IGNORED
from sodkit.settings import Keep

SMALL = ("model.width=0.125", "model.depth=0.1")


def build(*more):
    torch.manual_seed(0)
    return zoo.build(load_recipe("yolox-s-soda-d", (*SMALL, *more)).model, 3)


def batch(*targets, side=64, plain=False):
    images = torch.randn(len(targets), 3, 64, 64, generator=torch.Generator().manual_seed(0))
    sizes, scales = ((side, side),) * len(targets), ((1.0, 1.0),) * len(targets)
    return Batch(images, sizes, scales, targets, plain=plain)


def matches(detector, given):
    found = []
    detector(Batch(given.images, given.sizes, given.scales, given.targets, on_match=found.append),
             golden.in_order)  # fmt: skip
    return found


def test_cells_in_an_ignore_region_are_neither_positive_nor_negative():
    rows = [[4, 4, 14, 14], [40, 40, 50, 50]]
    detector = build()
    without, within = (
        matches(detector, batch(golden.target(rows, [0, 2], ignore)))[0]
        for ignore in ([], [[32, 32, 60, 60]])
    )
    grid = yolox.cells((64, 64))
    inside = ((grid.middle >= 32) & (grid.middle <= 60)).all(1)
    assert ((within == IGNORED) == inside).all()
    assert (without != IGNORED).all()
    assert (without[inside] == 1).any()
    assert (within == 0).any()


def test_ignored_cells_have_no_gradient_of_objectness():
    target = golden.target([[4, 4, 14, 14]], [0], [[32, 32, 60, 60]])
    detector, given = build(), batch(golden.target([[4, 4, 14, 14]], [0], [[32, 32, 60, 60]]))
    output = detector.see(given.images)
    output.objectness.retain_grad()
    detector.see = lambda images: output
    sum(detector(batch(target), golden.in_order).values()).backward()
    grid = yolox.cells((64, 64))
    inside = ((grid.middle >= 32) & (grid.middle <= 60)).all(1)
    assert (output.objectness.grad[0][inside] == 0).all()
    assert (output.objectness.grad[0][~inside] != 0).all()


def test_padding_that_the_batch_adds_is_not_learnt_from():
    # its centre is 2 px from the end of what the image is padded to alone
    (match,) = matches(build(), batch(golden.target([[28, 28, 32, 32]]), side=30))
    beyond = (yolox.cells((64, 64)).middle >= 32).any(1)
    assert ((match == IGNORED) == beyond).all()
    assert (match >= 0).any()


def test_l1_is_of_the_last_epochs_only():
    target = golden.target([[4, 4, 14, 14], [40, 20, 60, 50]], [0, 1])
    losses = [build()(batch(target, plain=plain), golden.in_order) for plain in (False, True)]
    assert losses[0]["loss_l1"] == 0
    assert losses[1]["loss_l1"] > 0
    for name in ("loss_cls", "loss_reg", "loss_objectness"):
        assert losses[0][name] == losses[1][name]


def test_deltas_lead_to_the_box_and_back():
    grid, rows = yolox.cells((64, 64)), torch.tensor([3, 70, 83])
    boxes = torch.tensor([[4.0, 4, 14, 20], [-3, 1, 9, 40], [0, 0, 64, 64]])
    deltas = torch.zeros(len(grid.stride), 4)
    deltas[rows] = yolox.encode(grid, rows, boxes)
    torch.testing.assert_close(yolox.decode(grid, deltas)[rows], boxes, atol=1e-5, rtol=1e-6)


def test_classes_and_objectness_begin_with_the_prior():
    head = build().head
    for conv in (*head.cls, *head.objectness):
        torch.testing.assert_close(conv.bias.sigmoid(), torch.full_like(conv.bias, 0.01))


def test_sides_may_be_odd():
    detector = build()
    images = torch.zeros(2, 3, 45, 75)
    found = detector.eval().see(images)
    assert found.logits.shape == (2, 6 * 10 + 3 * 5 + 2 * 3, 3)
    assert len(yolox.cells((45, 75)).stride) == found.logits.shape[1]


def test_what_lies_beyond_the_image_is_not_detected():
    given = batch(golden.target([]), side=30)
    (found,) = build().eval().detect(given, Keep(score=0, nms=1.0, max_per_patch=1000))
    assert len(found.boxes) > 5
    assert found.boxes.max() <= 30
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_an_image_without_objects_is_negative():
    (match,) = matches(build(), batch(golden.target([])))
    assert (match == NEGATIVE).all()


def test_targets_must_be_as_many_as_images():
    given = batch(golden.target([]), golden.target([]))
    with pytest.raises(ValueError, match="1 targets for 2 images"):
        build()(Batch(given.images, given.sizes, given.scales, given.targets[:1]), golden.in_order)


def test_a_width_must_give_whole_channels():
    with pytest.raises(UsageError, match=r"model\.width: 64 times it must be a whole number"):
        load_recipe("yolox-s-soda-d", ("model.width=0.3",))
