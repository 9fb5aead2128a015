"""Rotated and Oriented RepPoints against mmrotate's: same weights, same numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import model_golden as golden
import numpy as np
import oriented_golden as oriented
import pytest
import system_golden as system
import torch

from sodkit.config import load_recipe
from sodkit.models import zoo
from sodkit.models.importers import families, mmdet
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts import matchers
from sodkit.models.parts.point_quality import quality
from sodkit.models.parts.rotated_coders import canonical
from sodkit.models.rotated_reppoints import rectangles
from sodkit.settings import Keep

KEEP = Keep(score=0.05, nms=0.4, max_per_patch=2000)
ROTATED, ORIENTED = "rotated-reppoints", "oriented-reppoints"
LEVELS = range(5)


def build(name, keys="keys_small"):
    """Return the detector with weights that both originals share, through the importer."""
    state = system.weights(ROTATED, keys)
    found = families.recognise(state)
    detector = zoo.build(load_recipe(f"{name}-r50-soda-a", found.overrides).model, found.classes)
    detector.load_state_dict(mmdet.convert(state, detector, found.table))
    return detector, found


@pytest.fixture(scope="module")
def detector():
    return build(ROTATED)[0].eval()


@pytest.fixture(scope="module")
def want():
    return system.load(ROTATED, "eval")


@pytest.fixture(scope="module")
def output(detector):
    with torch.no_grad():
        return detector.head(detector.pyramid(golden.batch_a().images))


def test_features_and_head(detector, want, output):
    images = golden.batch_a().images
    with torch.no_grad():
        stages, pyramid = detector.backbone(images), detector.pyramid(images)
    maps = [(f"c{n}", x) for n, x in enumerate(stages, 2)]
    maps += [(f"p{n}", x) for n, x in enumerate(pyramid, 2)]
    for level in LEVELS:
        parts = {
            "cls": output.logits[level],
            "pts_init": output.initial[level].flatten(2),
            "pts_refine": output.refined[level].flatten(2),
        }
        for kind, rows in parts.items():
            name = f"{kind}_l{level}"
            maps.append((name, system.as_map(rows, want[f"{name}_shape"])))
    assert len(maps) == 24
    for name, one in maps:
        golden.close(golden.sampled(one, len(want[name])), want[name])
        oriented.check_stats(one, want, name)


def gap(found, wanted):
    """Return how far rows (cx, cy, w, h, angle, ...) are apart; angles modulo half a turn."""
    gap = (found - wanted).abs()
    gap[..., 4] = torch.minimum(gap[..., 4], (gap[..., 4] - torch.pi).abs())
    return gap.amax(-1)


def theirs(boxes):
    """Return their boxes (N, 5), of OpenCV's old convention, as ours."""
    return canonical(torch.from_numpy(boxes))


def test_all_rectangles_and_scores(detector, want, output):
    locations = detector.locations(golden.batch_a())
    boxes = torch.cat([
        rectangles(output.refined[level][0], locations.at[locations.level == level], 4 * 2**level)
        for level in LEVELS
    ])  # fmt: skip
    scores = torch.cat(output.logits, 1)[0].sigmoid()
    assert len(boxes) == want["all_boxes_n"]
    rows = np.linspace(0, len(boxes) - 1, len(want["all_boxes"])).astype(int)
    assert gap(boxes[rows], theirs(want["all_boxes"])).max() < 1e-3
    rows = np.linspace(0, len(boxes) - 1, len(want["all_scores"])).astype(int)
    np.testing.assert_allclose(scores[rows], want["all_scores"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["det", "det_rescaled"])
def test_detections(detector, want, kind):
    scale = 1.0 if kind == "det" else golden.SCALE
    batch = replace(golden.batch_a(), scales=((scale, scale),))
    (found,) = detector.detect(batch, KEEP)
    assert len(found.scores) == want[f"{kind}_n"]
    np.testing.assert_allclose(found.scores[:600], want[kind][:, 5], atol=1e-5)
    rows = torch.cat([found.obb, found.scores[:, None], found.labels[:, None]], 1)
    labels = torch.from_numpy(want[f"{kind}_labels"])[:, None]
    wanted = torch.cat([theirs(want[kind][:, :5]), torch.from_numpy(want[kind][:, 5:]), labels], 1)
    assert gap(rows[:, None], wanted).amin(0).max() < 1e-3


def given(name, prefix=""):
    """Return the train values of the original, and its batch."""
    train = system.load(name, "train")
    first, second = oriented.target(train, 0), oriented.target(train, 1)
    batch = golden.batch_b((first, oriented.NOTHING if prefix else second))
    return train, batch.part(range(1, 2)) if prefix == "empty_" else batch


@cache
def trained(name):
    """Return the values, the batch, the detector, its pyramid and the head's output."""
    train, batch = given(name)
    detector = build(name)[0]
    with torch.no_grad():
        pyramid = detector.pyramid(batch.images)
        return train, batch, detector, pyramid, detector.head(pyramid)


@pytest.mark.parametrize("name", [ROTATED, ORIENTED])
def test_assignments_of_both_stages(name):
    train, batch, detector, _, output = trained(name)
    locations = detector.locations(batch)
    nearest = detector.nearest(batch, locations)
    objects = nearest.anchors.split(nearest.counts), nearest.boxes.split(nearest.counts)
    overlaps = detector.match_sets(torch.cat(output.initial, 1), locations, batch)
    for image, (rows, boxes, match) in enumerate(zip(*objects, overlaps, strict=True)):
        assert not train[f"init_fragile{image}"].size
        assert not train[f"refine_fragile{image}"].size
        wanted = train[f"init_assign{image}"]
        np.testing.assert_array_equal(rows, np.flatnonzero(wanted > 0))
        truth = batch.targets[image].obb[torch.from_numpy(wanted[wanted > 0] - 1).long()]
        torch.testing.assert_close(boxes, truth)
        gt = match.gt
        ours = torch.where(gt >= 0, gt + 1, torch.where(gt == matchers.IGNORED, -1, 0)).numpy()
        np.testing.assert_array_equal(ours, train[f"refine_assign{image}"])
        key, best = f"refine_max_iou{image}", match.iou
        np.testing.assert_allclose(golden.sampled(best, len(train[key])), train[key], atol=1e-5)
        oriented.check_stats(best, train, key)


def test_quality_and_selection():
    train, batch, detector, pyramid, output = trained(ORIENTED)
    locations, config = detector.locations(batch), detector.config
    gts = [one.gt for one in detector.match_sets(torch.cat(output.initial, 1), locations, batch)]
    candidates = rows_each([gt >= 0 for gt in gts])
    sets = detector.assessed(output, gts, candidates, locations, batch)
    ranked = quality(sets, pyramid, config.strides, config.quality, config.focal)
    selected = detector.selected(output, pyramid, locations, batch)
    each = ranked.split([len(rows) for rows in candidates])
    for image, (rows, own) in enumerate(zip(candidates, each, strict=True)):
        np.testing.assert_array_equal(rows, train[f"quality_inds{image}"])
        gap = np.abs(own.numpy() - train[f"quality{image}"])
        # where two edges of a hull give equal areas, the other least rectangle may be taken
        assert gap.max() < 2e-2
        assert (gap < 1e-5).sum() >= len(gap) - 2
        chosen = selected.anchors.split(selected.counts)[image]
        assert len(chosen) == train[f"selected_n{image}"]
        np.testing.assert_array_equal(chosen, np.sort(train[f"selected{image}"]))


LOSSES = {
    "loss_cls": "loss_cls",
    "loss_init": "loss_pts_init",
    "loss_refine": "loss_pts_refine",
    "loss_spatial_init": "loss_spatial_init",
    "loss_spatial_refine": "loss_spatial_refine",
}


@pytest.mark.parametrize("prefix", ["", "empty1_", "empty_"])
@pytest.mark.parametrize("name", [ROTATED, ORIENTED])
def test_losses_and_gradients(name, prefix):
    train, batch = given(name, prefix)
    detector, found = build(name)
    losses = detector.train()(batch, golden.in_order)
    names = LOSSES if name == ORIENTED else dict(list(LOSSES.items())[:3])
    assert list(losses) == list(names)
    for ours, theirs in names.items():
        total = train[f"{prefix}{theirs}"].sum()
        if (name, prefix, ours) == (ORIENTED, "empty_", "loss_cls"):
            # without objects the original learns nothing; here as Rotated RepPoints does
            assert total == 0
            total = system.load(ROTATED, "train")["empty_loss_cls"].sum()
        np.testing.assert_allclose(losses[ours].item(), total, rtol=1e-5, atol=1e-7, err_msg=ours)
    if prefix == "":
        np.testing.assert_allclose(sum(losses.values()).item(), train["loss_total"], rtol=1e-5)
        sum(losses.values()).backward()
        system.check_gradients(detector, train, found, prefix)


def test_every_key_of_the_large_one_is_used():
    detector, found = build(ROTATED, "keys")
    assert {found.recipe, *found.also} == {f"{one}-r50-soda-a" for one in (ROTATED, ORIENTED)}
    shown = {"model.backbone.name=resnet50", "model.first_level=2", "model.levels=5"}
    assert shown <= set(found.overrides)
    assert found.classes == 9
    assert len(detector.state_dict()) == len(system.weights(ROTATED, "keys"))
