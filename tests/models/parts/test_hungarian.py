from itertools import permutations

import model_golden as golden
import pytest
import torch
from torchvision.ops import generalized_box_iou, generalized_box_iou_loss

from sodkit.data.batches import Batch
from sodkit.models.parts import hungarian
from sodkit.models.parts.box_iou import every_giou
from sodkit.models.parts.hungarian import Pairs, Predicted
from sodkit.settings.queries import SetLoss

SET = SetLoss()


def some_boxes(count, seed=0):
    rng = torch.Generator().manual_seed(seed)
    corner = 60 * torch.rand(count, 2, generator=rng)
    return torch.cat([corner, corner + 2 + 20 * torch.rand(count, 2, generator=rng)], 1)


def predicted(images, queries, classes=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    boxes = some_boxes(images * queries, seed).reshape(images, queries, 4)
    return Predicted(torch.randn(images, queries, classes, generator=rng), boxes)


def batch(*targets):
    images = torch.zeros(len(targets), 3, 96, 96)
    return Batch(images, ((80, 96),) * len(targets), ((1.0, 1.0),) * len(targets), targets)


def objects(count, seed=1, ignore=()):
    rows = some_boxes(count, seed).tolist()
    return golden.target(rows, [k % 3 for k in range(count)], [list(r) for r in ignore])


def test_giou_of_all_pairs_is_torchvision_s():
    a, b = some_boxes(20), some_boxes(30, 1)
    torch.testing.assert_close(every_giou(a, b), generalized_box_iou(a, b))
    assert every_giou(a, b[:0]).shape == (20, 0)


@pytest.mark.parametrize(("queries", "count"), [(6, 4), (4, 6), (5, 5)])
def test_the_pairs_are_those_of_least_cost_in_all(queries, count):
    cost = torch.rand(queries, count, generator=torch.Generator().manual_seed(queries))
    (found,) = hungarian.assign([cost])
    table = cost if queries <= count else cost.T
    ways = permutations(range(table.shape[1]), len(table))
    least = min(sum(table[i, j].item() for i, j in enumerate(way)) for way in ways)
    assert cost[found].sum().item() == pytest.approx(least)
    assert len(set(found[0].tolist())) == len(set(found[1].tolist())) == min(queries, count)


def test_the_cost_is_the_change_of_the_losses():
    # of one query and one object: the losses if they are a pair, less the loss of a negative
    stage, target = predicted(1, 1), objects(1)
    given = batch(target)
    ours = hungarian.pair_costs(stage.logits[0], stage.boxes[0], target, (80, 96), SET)
    rows, none = torch.zeros(1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    free = torch.zeros(1, dtype=torch.bool)
    paired = hungarian.set_losses(stage, Pairs(rows, rows, free), given, SET)
    alone = hungarian.set_losses(stage, Pairs(none, none, free), given, SET)
    change = sum(paired.values()) - sum(alone.values())
    # the loss has 1 - GIoU where the cost has -GIoU
    torch.testing.assert_close(ours[0, 0], change - SET.giou)


def test_losses_by_hand():
    stage, target = predicted(1, 2), objects(1)
    found = hungarian.set_losses(
        stage, Pairs(torch.tensor([1]), torch.tensor([0]), torch.zeros(2, dtype=torch.bool)),
        batch(target), SET,
    )  # fmt: skip
    p = stage.logits[0].sigmoid()
    negative = 0.75 * p**2 * -torch.log(1 - p)
    positive = 0.25 * (1 - p[1, 0]) ** 2 * -torch.log(p[1, 0])
    torch.testing.assert_close(found["cls"], 2 * (negative.sum() - negative[1, 0] + positive))
    apart = (stage.boxes[0, 1] - target.boxes[0]).abs() / torch.tensor([96.0, 80.0, 96.0, 80.0])
    torch.testing.assert_close(found["l1"], 5 * apart.sum())
    theirs = generalized_box_iou_loss(stage.boxes[0, 1:], target.boxes, reduction="sum")
    torch.testing.assert_close(found["giou"], 2 * theirs)


def test_stages_and_images_are_matched_each_by_itself():
    stages = [predicted(3, 7, seed=s) for s in range(2)]
    targets = (objects(4), objects(0), objects(9, 2))
    both = hungarian.match(stages, batch(*targets), SET)
    for stage, pairs in zip(stages, both, strict=True):
        assert len(pairs.query) == 4 + 0 + 7
        first = 0
        for image, target in enumerate(targets):
            one = Predicted(stage.logits[image : image + 1], stage.boxes[image : image + 1])
            (alone,) = hungarian.match([one], batch(target), SET)
            mine = pairs.query // 7 == image
            assert torch.equal(pairs.query[mine], alone.query + 7 * image)
            assert torch.equal(pairs.object[mine], alone.object + first)
            first += len(target.boxes)


def test_a_query_in_an_ignore_region_is_neither_positive_nor_negative():
    stage, target = predicted(1, 5), objects(2)
    (free,) = hungarian.match([stage], batch(target), SET)
    taken = int(free.query[0])
    region = stage.boxes[0, taken].tolist()
    given = batch(golden.target(target.boxes.tolist(), target.labels.tolist(), [region]))
    (pairs,) = hungarian.match([stage], given, SET)
    assert pairs.left_out.nonzero()[:, 0].tolist() == [taken]
    assert taken not in pairs.query.tolist()
    assert len(pairs.query) == 2
    logits = stage.logits.clone().requires_grad_()
    losses = hungarian.set_losses(Predicted(logits, stage.boxes), pairs, given, SET)
    losses["cls"].backward()
    assert (logits.grad[0, taken] == 0).all()
    others = [q for q in range(5) if q != taken]
    assert (logits.grad[0, others] != 0).all()


def test_an_object_in_an_ignore_region_takes_no_query():
    stage, target = predicted(1, 5), objects(2)
    x1, y1, x2, y2 = target.boxes[1].tolist()
    # its region leaves out a third of it; queries are not in it by more than half
    region = [x1, y1, x2, y2 - (y2 - y1) / 3]
    given = batch(golden.target(target.boxes.tolist(), target.labels.tolist(), [region]))
    (pairs,) = hungarian.match([stage], given, SET)
    assert pairs.object.tolist() == [0]
    assert not pairs.left_out.any()


def test_predictions_that_are_not_finite_are_not_matched():
    stage = predicted(1, 4)
    stage.boxes[0, 1] = torch.nan
    stage.logits[0, 2] = torch.nan
    (pairs,) = hungarian.match([stage], batch(objects(6)), SET)
    assert pairs.query.tolist() == [0, 3]


def test_all_queries_in_a_region():
    (pairs,) = hungarian.match([predicted(1, 4)], batch(objects(3, ignore=[(0, 0, 96, 96)])), SET)
    assert len(pairs.query) == 0
    assert pairs.left_out.all()


def test_the_match_of_each_image_is_reported():
    stage, target = predicted(2, 5), objects(2)
    region = stage.boxes[1, 0].tolist()
    told = []
    given = batch(target, golden.target(target.boxes.tolist(), [0, 0], [region]))
    given = Batch(given.images, given.sizes, given.scales, given.targets, on_match=told.append)
    (pairs,) = hungarian.match([stage], given, SET)
    hungarian.report(pairs, given)
    assert [sorted(m.tolist()) for m in told] == [[-1, -1, -1, 0, 1], [-2, -1, -1, 0, 1]]
    assert told[1][0] == -2
    for query, number in zip(pairs.query.tolist(), pairs.object.tolist(), strict=True):
        assert told[query // 5][query % 5] == number % 2
