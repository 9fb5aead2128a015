"""Positives by system: the recipes' own detectors give an object alone the same number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_assigners import HEIGHT, WIDTH, objects

from sodkit.analysis.system_positives import (
    COMPARED,
    Objects,
    positives_by_system,
    positives_of,
    share_without,
)
from sodkit.config import builtin_names, load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.models import zoo
from sodkit.models.atss import Atss
from sodkit.models.faster_rcnn import FasterRcnn
from sodkit.models.fcos import Fcos
from sodkit.models.parts import anchors
from sodkit.models.parts.guided_rpn import GuidedRpn
from sodkit.models.retinanet import RetinaNet

SMALL = ("model.backbone={name: resnet18, weights: null}", "model.channels=64")
TINY = (SMALL[0], "model.fpn.channels=64", "model.roi.hidden=64")
VARIANTS = {"cfinet-r18-demo", "cfinet-r18-demo-oriented", "cfinet-r50-soda-d-release"}
"""Built-in recipes whose assigner is that of another one, or one that is not released."""

BY_PREDICTION = {"yolox-s-soda-d"}
"""Built-in recipes whose positives depend on what is predicted, not on boxes alone."""

ONE_EACH = {
    "sparse-rcnn-r50-soda-d",
    "deformable-detr-r50-soda-d",
    "centernet-r50-soda-d",
    "cornernet-hourglass-soda-d",
    "reppoints-r50-soda-d",
}
"""Built-in recipes that give every object one positive: a query, the cell of its middle or of a
corner, a point."""


def random_objects(seed: int, count: int = 60) -> Objects:
    boxes, extents = objects(seed, count)
    return Objects(boxes, extents, 1.5)


def alone(name: str, given: Objects) -> list[int]:
    """Return how many positives the recipe's detector gives each object."""
    made = zoo.build(load_recipe(name, SMALL).model, 3)
    assert isinstance(made, RetinaNet | Fcos | Atss)
    image = Batch(torch.zeros(1, 3, HEIGHT, WIDTH), ((HEIGHT, WIDTH),), ((1.0, 1.0),))
    counts = []
    for box in given.boxes:
        target = Target(torch.tensor(box[None]).float(), torch.zeros(1).long(), torch.zeros(0, 4))
        if isinstance(made, Fcos):
            match = made.match(made.points(image), target, (HEIGHT, WIDTH))
        elif isinstance(made, Atss):
            grid = anchors.grid((HEIGHT, WIDTH), made.levels)
            match = made.match(grid, target, (HEIGHT, WIDTH))
        else:
            grid = anchors.grid((HEIGHT, WIDTH), made.levels)
            match = made.match(torch.cat(grid), target, (HEIGHT, WIDTH))
        counts.append(int((match >= 0).sum()))
    return counts


@pytest.mark.parametrize("name", ["retinanet-r50-soda-d", "fcos-r50-soda-d", "atss-r50-soda-d"])
def test_the_detector_assigns_as_many(name: str) -> None:
    given = random_objects(1)
    counts = positives_of(load_recipe(name).model, given)
    assert counts is not None
    assert counts.tolist() == alone(name, given)


def test_ga_rpn_learns_shapes_at_as_many_locations() -> None:
    given, model = random_objects(5), load_recipe("ga-rpn-r50-soda-d", TINY).model
    made = zoo.build(model, 3)
    assert isinstance(made, FasterRcnn)
    assert isinstance(made.rpn, GuidedRpn)
    size = (HEIGHT, WIDTH)
    squares = torch.cat(anchors.grid(size, made.rpn.levels))
    shapes = torch.cat(anchors.grid(size, made.rpn.shape_levels)).reshape(len(squares), -1, 4)
    wanted = []
    for box in given.boxes:
        target = Target(torch.tensor(box[None]).float(), torch.zeros(1).long(), torch.zeros(0, 4))
        wanted.append(int((made.rpn.match_shape(squares, shapes, target) >= 0).sum()))
    counts = positives_of(model, given)
    assert counts is not None
    assert counts.tolist() == wanted


@pytest.mark.parametrize("name", builtin_names())
def test_every_assigner_is_compared(name: str) -> None:
    """A recipe is compared, or its model's counts are those of one that is."""
    given = random_objects(2)
    counts = positives_of(load_recipe(name).model, given)
    if name in COMPARED:
        assert counts is not None
        return
    if name in ONE_EACH | BY_PREDICTION:
        assert counts is None
        return
    upright = load_recipe(name).boxes == "horizontal" and name not in VARIANTS
    same = [positives_of(load_recipe(other).model, given) for other in COMPARED]
    assert not upright or any(np.array_equal(counts, s) for s in same)


def test_the_recipe_comes_first_unless_it_is_compared() -> None:
    given = random_objects(3)
    assert list(positives_by_system(load_recipe("retinanet-r50-soda-d"), given)) == list(COMPARED)
    other = load_recipe("retinanet-r50-soda-d", ["model.anchor_scale=1.0", "name=mine"])
    found = positives_by_system(other, given)
    assert list(found) == ["mine", *COMPARED]
    assert found["mine"].tolist() != found["retinanet-r50-soda-d"].tolist()


def test_thresholds_of_crpn_follow_the_size_before_resizing() -> None:
    model = load_recipe("cfinet-r50-soda-d").model
    given = random_objects(4)
    larger = positives_of(model, Objects(given.boxes, given.extents, 1.0))
    counts = positives_of(model, given)
    assert counts is not None
    assert larger is not None
    assert (counts >= larger).all()
    assert (counts > larger).any()


def test_share_without() -> None:
    assert share_without(np.array([0, 2, 0, 1])) == 0.5
