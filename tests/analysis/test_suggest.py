"""Suggested settings: never worse by what is maximised, within the limits, taken by --set."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_anchor_grid import all_anchors

from sodkit.analysis import sized_objects
from sodkit.analysis.anchor_search import LOSS
from sodkit.analysis.anchor_study import anchor_levels
from sodkit.analysis.suggest import suggest_settings, suggestion_as_dict
from sodkit.config import builtin_names, load_recipe
from sodkit.data.records import Annotations, Category, ImageRecord
from sodkit.errors import DataError, UsageError
from sodkit.geometry.boxes import iou
from sodkit.settings.anchor_levels import Anchored
from sodkit.synthetic import make_scene

CFINET = load_recipe("cfinet-r50-soda-d")


def records(sides, image=(300, 240), seed=0) -> Annotations:
    """Return objects of these sides (N, 2) at random places of an image."""
    sides = np.asarray(sides, float).reshape(-1, 2)
    count = len(sides)
    low = np.random.default_rng(seed).uniform(0, 1, (count, 2)) * np.maximum(image - sides, 0)
    return Annotations(
        images=(ImageRecord(1, "a.jpg", *image),),
        categories=(Category(1, "thing"),),
        ids=np.arange(count),
        image_index=np.zeros(count, np.int64),
        labels=np.zeros(count, np.int64),
        xywh=np.column_stack([low, sides]),
        area=sides.prod(axis=1),
        ignore=np.zeros(count, bool),
    )


def squares(count, low, high, seed=0):
    sides = np.random.default_rng(seed).uniform(low, high, count)
    return np.column_stack([sides, sides])


def slow_value(annotations: Annotations, recipe, scale) -> tuple[float, dict[int, float]]:
    """Return the value of a recipe's settings against every anchor, and covered shares by size."""
    image, own = annotations.images[0], recipe.input.scale
    width, height = (-(-round(side * own) // 32) * 32 for side in (image.width, image.height))
    anchors = all_anchors(anchor_levels(recipe), width, height)
    rule = recipe.model.crpn.assignment
    covered, enough = {}, {}
    for box, area in zip(annotations.xyxy, annotations.area, strict=True):
        found = iou(box[None] * own, anchors)[0]
        side = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
        needed = rule.base + rule.gamma * np.log2(side / rule.reference)
        needed = min(rule.cap, max(rule.floor, needed))
        size = sum(area > bound for bound in (144, 400, 1024, 2000))
        covered.setdefault(size, []).append(found.max() >= 0.5)
        enough.setdefault(size, []).append(1 <= (found >= needed).sum() <= 12)
    counting = [k for k, each in covered.items() if len(each) >= 0.05 * len(annotations)]
    means = [np.mean(covered[k]) + np.mean(enough[k]) for k in counting]
    cost = 0.05 * np.log2((own / scale) ** 2)
    return float(np.mean(means) - cost), {k: float(np.mean(v)) for k, v in covered.items()}


@settings(max_examples=6)
@given(
    seed=st.integers(0, 100),
    low=st.floats(3, 60),
    spread=st.floats(1, 6),
    count=st.integers(1, 15),
    long=st.floats(1, 8),
)
def test_never_worse_and_taken_by_set(seed, low, spread, count, long):
    sides = squares(count, low, low * spread, seed) * [1, long]
    annotations = records(np.minimum(sides, 230), seed=seed)
    found = suggest_settings(annotations, CFINET)
    assert load_recipe(CFINET.name, found.lines()) == found.recipe
    before, covered = slow_value(annotations, CFINET, 1.5)
    after, covered_after = slow_value(annotations, found.recipe, 1.5)
    assert found.value == pytest.approx((before, after))
    assert after == before or after >= before + 0.03
    assert all(covered_after[size] >= share - LOSS for size, share in covered.items())
    assert found.recipe.input.side <= CFINET.input.side


@pytest.mark.parametrize(
    ("sides", "image"),
    [
        (squares(200, 8, 45), (4000, 3000)),
        (squares(200, 4, 6), (4000, 3000)),
        (squares(100, 150, 300), (640, 480)),
        (squares(200, 8, 45) * [1, 6], (4000, 3000)),
        ([[7, 9]], (640, 480)),
    ],
    ids=["soda", "5 px", "200 px", "trains", "one"],
)
def test_with_the_suggestion_nothing_need_be_changed(sides, image):
    annotations = records(sides, image)
    found = suggest_settings(annotations, CFINET)
    assert found.changes
    again = suggest_settings(annotations, found.recipe)
    assert not again.changes
    assert not again.lines()
    assert again.recipe == found.recipe


def test_what_larger_and_smaller_objects_need():
    tiny = suggest_settings(records(squares(200, 4, 6), (4000, 3000)), CFINET)
    assert tiny.recipe.input.scale > 1.5
    assert tiny.recipe.input.patch < 800
    assert tiny.after.above[0.5][0] > tiny.before.above[0.5][0] + 0.1
    large = suggest_settings(records(squares(100, 150, 300), (640, 480)), CFINET)
    assert large.objects == (0, 0, 0, 0, 100)
    assert large.recipe.input.scale < 1.5
    assert large.recipe.input.scale * 150 >= 64  # they are not made small
    assert large.recipe.input.patch == 640
    assert large.after.above[0.5][4] > 0.95 > 0.05 > large.before.above[0.5][4]


def test_the_smallest_keep_most_positives():
    sides = np.concatenate([squares(100, 8, 12), squares(100, 33, 44, 1), squares(60, 90, 200, 2)])
    found = suggest_settings(records(sides, (4000, 3000)), CFINET)
    assert found.after.positives is not None
    means = found.after.positives[~np.isnan(found.after.positives)]
    assert found.changes
    assert means[0] >= max(means) / (1 + LOSS)


def test_too_long_objects_are_counted():
    """Twice as long is not too long for squares, three times is; ratios of 2 reach further."""
    sides = [[20, 10], [10, 20], [30, 10], [10, 45], [12, 12]]
    assert suggest_settings(records(sides), CFINET).too_long == 2 / 5
    rpn = load_recipe("faster-rcnn-r50-soda-d")
    assert suggest_settings(records(sides), rpn).too_long == 0
    for times in (2.2, 2.3):  # the best square of any size, in the middle
        size = np.linspace(1, 3, 2001)
        overlap = np.minimum(size, times) * np.minimum(size, 1)
        assert ((overlap / (size**2 + times - overlap)).max() >= 0.5) == (times < 2.25)


def test_objects_longer_than_the_overlap():
    sides = np.tile([[200.0, 20.0]], (50, 1))
    found = suggest_settings(records(sides, (4000, 3000)), CFINET)
    assert found.longer == (1.0, 0.0)
    assert found.recipe.input.patch - found.recipe.input.stride >= 200
    assert suggest_settings(records(sides, (500, 400)), CFINET).longer == (0.0, 0.0)


@pytest.mark.parametrize("name", builtin_names())
def test_every_detector_with_anchors(name):
    recipe, annotations = load_recipe(name), records(squares(30, 20, 40))
    if not isinstance(recipe.model, Anchored):
        with pytest.raises(UsageError, match="no anchors"):
            suggest_settings(annotations, recipe)
        return
    found = suggest_settings(annotations, recipe)
    assert load_recipe(name, found.lines()) == found.recipe
    assert found.value[1] >= found.value[0]
    json.dumps(suggestion_as_dict(found), allow_nan=False)


def test_of_many_objects_a_sample_is_searched_and_all_decide(monkeypatch):
    annotations = records(squares(400, 8, 45), (4000, 3000))
    monkeypatch.setattr(sized_objects, "SAMPLED", 30)
    found = suggest_settings(annotations, CFINET)
    assert sum(found.objects) == 400
    assert found.changes
    assert found.value[1] == pytest.approx(suggest_settings(annotations, found.recipe).value[0])
    for size in range(4):
        before, after = found.before.above[0.5][size], found.after.above[0.5][size]
        assert after >= before - LOSS


def test_oriented_objects_count_by_their_enclosing_boxes():
    _, annotations = make_scene(1, 500, 400, "oriented")
    recipe = load_recipe("cfinet-r50-soda-a")
    flat = replace(annotations, obb=None, polygons=None)
    assert suggest_settings(annotations, recipe).lines() == suggest_settings(flat, recipe).lines()


def test_ignored_objects_are_left_out():
    annotations = records([[10, 10], [40, 200]])
    found = suggest_settings(replace(annotations, ignore=np.array([False, True])), CFINET)
    assert found.objects == (1, 0, 0, 0, 0)
    with pytest.raises(DataError, match="no objects"):
        suggest_settings(replace(annotations, ignore=np.array([True, True])), CFINET)


def test_json_has_figures_before_and_after():
    found = suggest_settings(records(squares(100, 150, 300), (640, 480)), CFINET)
    data = json.loads(json.dumps(suggestion_as_dict(found), allow_nan=False))
    assert data["set"]["input.scale"] == found.recipe.input.scale
    assert data["now"]["input.scale"] == 1.5
    assert set(data["set"]) == set(data["now"]) == set(found.changes)
    assert data["sizes"]["eS"]["before"]["mean_positives"] is None
    larger = data["sizes"]["larger"]
    assert larger["objects"] == 100
    assert larger["after"]["share_with_1_to_12"] > larger["before"]["share_with_1_to_12"]
    assert larger["after"]["share_above"]["0.3"] == 1
    assert data["value"] == {"before": found.value[0], "after": found.value[1]}
