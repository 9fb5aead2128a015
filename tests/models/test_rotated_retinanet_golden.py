"""Rotated RetinaNet against mmrotate's: same weights, same numbers."""

from __future__ import annotations

from dataclasses import replace

import model_golden as golden
import numpy as np
import oriented_golden as oriented
import pytest
import system_golden as system
import torch

from sodkit.models.parts import matchers, rotated_anchor_match, rotated_coders
from sodkit.settings import Keep

KEEP = Keep(score=0.05, nms=0.1, max_per_patch=2000)
NAME = "rotated-retinanet"


@pytest.fixture(scope="module")
def retinanet():
    return system.build(system.weights(NAME))[0].eval()


@pytest.fixture(scope="module")
def want():
    return system.load(NAME, "eval")


@pytest.fixture(scope="module")
def output(retinanet):
    with torch.no_grad():
        return retinanet.head(retinanet.pyramid(golden.batch_a().images))


def test_features_and_head(retinanet, want, output):
    images = golden.batch_a().images
    with torch.no_grad():
        stages, pyramid = retinanet.backbone(images), retinanet.pyramid(images)
    maps = [(f"c{n}", x) for n, x in enumerate(stages, 2)]
    maps += [(f"p{n}", x) for n, x in enumerate(pyramid, 2)]
    for level in range(5):
        for kind, rows in (("cls", output.logits[level]), ("reg", output.deltas[level])):
            name = f"{kind}_l{level}"
            maps.append((name, system.as_map(rows, want[f"{name}_shape"])))
    for name, one in maps:
        golden.close(golden.sampled(one, len(want[name])), want[name])
        oriented.check_stats(one, want, name)


def test_all_boxes_and_scores(retinanet, want, output):
    grid = torch.cat(retinanet.grid((256, 256), retinanet.levels))
    deltas, scores = torch.cat(output.deltas, 1)[0], torch.cat(output.logits, 1)[0].sigmoid()
    boxes = rotated_coders.decode_rotated(grid, deltas, retinanet.config.stds)
    boxes = rotated_coders.clamp_centres(boxes, (256, 256))
    for name, rows, atol in (("all_boxes", boxes, 1e-3), ("all_scores", scores, 1e-5)):
        assert len(rows) == want[f"{name}_n"]
        chosen = np.linspace(0, len(rows) - 1, len(want[name])).astype(int)
        np.testing.assert_allclose(rows[chosen], want[name], rtol=0, atol=atol)


@pytest.mark.parametrize("kind", ["det", "det_rescaled"])
def test_detections(retinanet, want, kind):
    scale = 1.0 if kind == "det" else golden.SCALE
    batch = replace(golden.batch_a(), scales=((scale, scale),))
    (found,) = retinanet.detect(batch, KEEP)
    assert len(found.scores) == want[f"{kind}_n"]
    oriented.check_detections(found, want[kind], want[f"{kind}_labels"])
    (some,) = retinanet.detect(batch, KEEP.model_copy(update={"max_per_patch": 600}))
    np.testing.assert_allclose(some.scores, want[kind][:, 5], atol=1e-5)


def test_anchors_that_are_wide_enter_the_coder_with_their_sides_in_order(retinanet):
    level = retinanet.grid((256, 256), retinanet.levels)[1][:3]
    sides = [(8.0, 8.0), (8 * 2**0.5, 8 / 2**0.5), (8 / 2**0.5, 8 * 2**0.5)]
    np.testing.assert_allclose(level[:, 2:4], sides, rtol=1e-6)
    assert (level[:, 4] == 0).all()


def test_assignment_and_targets(retinanet):
    train = system.load(NAME, "train")
    batch = golden.batch_b((oriented.target(train, 0), oriented.target(train, 1)))
    grid = torch.cat(retinanet.grid(batch.padded, retinanet.levels))
    rule = retinanet.config.matching
    overlaps = rotated_anchor_match.match_anchors([grid] * 2, batch.targets, rule)
    for image, gt in enumerate(retinanet.match(grid, batch)):
        theirs = train[f"assign{image}"]
        firm = np.setdiff1d(np.arange(len(gt)), train[f"fragile{image}"])
        ours = torch.where(gt >= 0, gt + 1, torch.where(gt == matchers.IGNORED, -1, 0)).numpy()
        np.testing.assert_array_equal(ours[firm], theirs[firm])
        best = overlaps[image].iou
        name = f"max_iou{image}"
        np.testing.assert_allclose(golden.sampled(best, len(train[name])), train[name], atol=1e-5)
        oriented.check_stats(best, train, name)
        # the targets of all positives of the original, in the order of the anchors
        rows = torch.from_numpy(np.flatnonzero(theirs > 0))
        truth = batch.targets[image].obb[torch.from_numpy(theirs[rows] - 1).long()]
        found = rotated_coders.encode_rotated(grid[rows], truth, retinanet.config.stds)
        np.testing.assert_allclose(found, train[f"targets{image}"], atol=1e-4)


@pytest.mark.parametrize("prefix", ["", "empty1_", "empty_"])
def test_losses_and_gradients(prefix):
    train = system.load(NAME, "train")
    first, second = oriented.target(train, 0), oriented.target(train, 1)
    batch = golden.batch_b((first, oriented.NOTHING if prefix else second))
    if prefix == "empty_":
        batch = batch.part(range(1, 2))
    detector, found = system.build(system.weights(NAME))
    losses = detector.train()(batch, golden.in_order)
    assert list(losses) == ["loss_cls", "loss_reg"]
    for key, theirs in (("loss_cls", "loss_cls"), ("loss_reg", "loss_bbox")):
        total = train[f"{prefix}{theirs}"].sum()
        np.testing.assert_allclose(losses[key].item(), total, rtol=1e-5, atol=1e-7)
    if prefix == "":
        np.testing.assert_allclose(sum(losses.values()).item(), train["loss_total"], rtol=1e-5)
        sum(losses.values()).backward()
        system.check_gradients(detector, train, found, prefix)


def test_every_key_of_the_large_one_is_used():
    state = system.weights(NAME, "keys")
    detector, found = system.build(state)
    assert found.recipe == f"{NAME}-r50-soda-a"
    assert "model.backbone.name=resnet50" in found.overrides
    assert found.classes == 9
    assert len(detector.state_dict()) == len(state)
