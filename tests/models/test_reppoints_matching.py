"""Whom RepPoints trains in each of its two stages."""

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.models import zoo

NEGATIVE, IGNORED = -1, -2
SIZE = (96, 128)


def build(*more):
    small = ("model.backbone.name=resnet18", "model.backbone.weights=null", "model.channels=16")
    torch.manual_seed(0)
    return zoo.build(load_recipe("reppoints-r50-soda-d", [*small, *more]).model, 2)


def target(boxes, ignore=()):
    boxes, regions = (torch.tensor(x, dtype=torch.float32).reshape(-1, 4) for x in (boxes, ignore))
    return Target(boxes, torch.zeros(len(boxes), dtype=torch.int64), regions)


def batch(*targets, sizes=None):
    count = len(targets)
    images = torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    return Batch(images, sizes or (SIZE,) * count, ((1.0, 1.0),) * count, targets)


def squares(locations, side):
    """Return a box about each location."""
    return torch.cat([locations.at - side / 2, locations.at + side / 2], 1)


def test_locations_in_a_region_are_neither_positive_nor_negative():
    detector = build()
    given = target([[60, 60, 70, 70], [20, 20, 28, 28]], [[50, 50, 80, 80]])
    locations = detector.locations(batch(given))
    found = detector.match_locations(locations, given, SIZE)
    x, y = locations.at.unbind(1)
    held = (x >= 50) & (x <= 80) & (y >= 50) & (y <= 80)
    assert held.sum() > 10
    assert (found[held] == IGNORED).all()
    assert (found[~held] >= NEGATIVE).all()
    assert (found == 0).sum() == 0
    assert (found == 1).sum() == 1


def test_initial_boxes_in_a_region_are_neither_positive_nor_negative():
    """More than half of a box decides, wherever its location is."""
    detector = build()
    given = target([[60, 60, 70, 70], [20, 20, 28, 28]], [[50, 50, 80, 80]])
    locations = detector.locations(batch(given))
    boxes = squares(locations, 8.0)
    x = (boxes[:, 2].clamp(max=80) - boxes[:, 0].clamp(min=50)).clamp(min=0)
    y = (boxes[:, 3].clamp(max=80) - boxes[:, 1].clamp(min=50)).clamp(min=0)
    held = x * y > 32
    found = detector.match_boxes(boxes, locations, given, SIZE)
    assert held.sum() > 10
    assert (found[held] == IGNORED).all()
    assert (found == 0).sum() == 0
    assert (found == 1).sum() > 0
    assert (found[~held] == NEGATIVE).sum() > 100


def test_regions_change_the_losses_of_what_lies_in_them_only():
    """Of images without objects the class loss shrinks; where all is ignored it is 0."""
    detector = build()
    everywhere = [[-500, -500, 900, 900]]
    losses = [
        detector(batch(target([], ignore)), torch.randperm)["loss_cls"].item()
        for ignore in ([], [[0, 0, 64, 96]], everywhere)
    ]
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] == 0


def test_an_object_that_no_box_overlaps_has_none():
    """At the start boxes are specks about the locations, and an object may lie between them."""
    given = target([[2, 2, 6, 6]])
    for switch, positives in (("false", 0), ("true", None)):
        detector = build(f"model.matching.claim_apart={switch}")
        locations = detector.locations(batch(given))
        found = detector.match_boxes(squares(locations, 1.0), locations, given, SIZE)
        want = len(found) if positives is None else positives
        assert (found == 0).sum() == want


def test_the_defect_of_the_benchmark_reaches_the_losses():
    given = batch(target([[2, 2, 6, 6]]))
    repaired, imitated = (
        build(f"model.matching.claim_apart={switch}")(given, torch.randperm)["loss_refine"].item()
        for switch in ("false", "true")
    )
    assert repaired == 0
    assert imitated > 10


@pytest.mark.parametrize("stage", ["locations", "boxes"])
def test_padding_of_a_larger_image_takes_no_part(stage):
    detector = build()
    given = target([[20, 20, 31, 31]])
    locations = detector.locations(batch(given))
    size = (30, 40)  # alone it is padded to 32 x 64
    beyond = (locations.at[:, 0] >= 64) | (locations.at[:, 1] >= 32)
    if stage == "locations":
        found = detector.match_locations(locations, given, size)
    else:  # boxes of the padding that reach the object would be its best
        boxes = torch.where(beyond[:, None], given.boxes, squares(locations, 8.0))
        found = detector.match_boxes(boxes, locations, given, size)
    assert (found[beyond] == IGNORED).all()
    assert (found[~beyond] >= NEGATIVE).all()
    assert (found == 0).sum() > 0
