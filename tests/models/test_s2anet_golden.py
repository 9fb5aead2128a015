"""S2A-Net against mmrotate's: same weights, same numbers."""

from __future__ import annotations

from dataclasses import replace

import model_golden as golden
import numpy as np
import oriented_golden as oriented
import pytest
import system_golden as system
import torch

from sodkit.models.importers import families
from sodkit.models.kernels.rotating_conv import strongest_turn
from sodkit.models.parts import matchers, rotated_anchor_match, rotated_coders
from sodkit.settings import Keep

KEEP = Keep(score=0.05, nms=0.1, max_per_patch=2000)
NAME = "s2anet"


@pytest.fixture(scope="module")
def s2anet():
    return system.build(system.weights(NAME))[0].eval()


@pytest.fixture(scope="module")
def want():
    return system.load(NAME, "eval")


@pytest.fixture(scope="module")
def seen(s2anet):
    """What the heads make of ``batch_a``: pyramid, FAM, refined anchors, aligned features, ODM."""
    with torch.no_grad():
        pyramid = s2anet.pyramid(golden.batch_a().images)
        fam = s2anet.fam(pyramid)
        refined = s2anet.decode(s2anet.grid((256, 256), s2anet.levels), fam.deltas)
        aligned = s2anet.aligned(pyramid, refined)
        return pyramid, fam, refined, aligned, s2anet.odm(aligned)


def test_features_and_heads(s2anet, want, seen):
    pyramid, fam, _, aligned, odm = seen
    with torch.no_grad():
        stages = s2anet.backbone(golden.batch_a().images)
        turned = s2anet.odm.rotating(aligned[0])
    maps = [(f"c{n}", x) for n, x in enumerate(stages, 2)]
    maps += [(f"p{n}", x) for n, x in enumerate(pyramid, 2)]
    maps += [(f"align_l{n}", x) for n, x in enumerate(aligned)]
    maps += [("orconv_l0", turned), ("orpool_l0", strongest_turn(turned))]
    for head, output in (("fam", fam), ("odm", odm)):
        for level in range(5):
            for kind, rows in (("cls", output.logits[level]), ("reg", output.deltas[level])):
                name = f"{head}_{kind}_l{level}"
                maps.append((name, system.as_map(rows, want[f"{name}_shape"])))
    for name, one in maps:
        golden.close(golden.sampled(one, len(want[name])), want[name])
        oriented.check_stats(one, want, name)


def test_refined_anchors(want, seen):
    for level, (found,) in enumerate(seen[2]):
        name = f"rois_l{level}"
        np.testing.assert_allclose(
            golden.sampled(found, len(want[name])), want[name].ravel(), rtol=0, atol=1e-3
        )
        oriented.check_stats(found, want, name)


def test_the_deltas_alone_are_those_beside_the_scores(s2anet, seen):
    with torch.no_grad():
        for alone, beside in zip(s2anet.fam.regress(seen[0]), seen[1].deltas, strict=True):
            assert torch.equal(alone, beside)


def test_all_boxes_and_scores(s2anet, want, seen):
    _, _, refined, _, odm = seen
    boxes, scores = torch.cat(s2anet.decode(refined, odm.deltas), 1)[0], torch.cat(odm.logits, 1)
    boxes = rotated_coders.clamp_centres(boxes, (256, 256))
    for name, rows, atol in (("all_boxes", boxes, 1e-3), ("all_scores", scores[0].sigmoid(), 1e-5)):
        assert len(rows) == want[f"{name}_n"]
        chosen = np.linspace(0, len(rows) - 1, len(want[name])).astype(int)
        np.testing.assert_allclose(rows[chosen], want[name], rtol=0, atol=atol)


@pytest.mark.parametrize("kind", ["det", "det_rescaled"])
def test_detections(s2anet, want, kind):
    scale = 1.0 if kind == "det" else golden.SCALE
    batch = replace(golden.batch_a(), scales=((scale, scale),))
    (found,) = s2anet.detect(batch, KEEP)
    assert len(found.scores) == want[f"{kind}_n"]
    rows = torch.from_numpy(want[kind])
    # the original's w may be the shorter side; detections here are described by the longer one
    assert (rows[:, 2] < rows[:, 3]).any()
    rows = torch.cat([rotated_coders.canonical(rows[:, :5]), rows[:, 5:]], 1)
    oriented.check_detections(found, rows.numpy(), want[f"{kind}_labels"])
    (some,) = s2anet.detect(batch, KEEP.model_copy(update={"max_per_patch": 600}))
    np.testing.assert_allclose(some.scores, want[kind][:, 5], atol=1e-5)


def test_assignments_and_targets(s2anet):
    train = system.load(NAME, "train")
    batch = golden.batch_b((oriented.target(train, 0), oriented.target(train, 1)))
    grid = s2anet.grid(batch.padded, s2anet.levels)
    with torch.no_grad():
        deltas = s2anet.fam(s2anet.pyramid(batch.images)).deltas
    every, config = torch.cat(grid), s2anet.config
    stages = {
        "fam": ([every] * 2, config.fam),
        "odm": (list(torch.cat(s2anet.decode(grid, deltas), 1)), config.odm),
    }
    for stage, (anchors, rule) in stages.items():
        overlaps = rotated_anchor_match.match_anchors(anchors, batch.targets, rule.matching)
        for image, gt in enumerate(s2anet.match(anchors, every, batch, rule)):
            theirs = train[f"{stage}_assign{image}"]
            firm = np.setdiff1d(np.arange(len(gt)), train[f"{stage}_fragile{image}"])
            ours = torch.where(gt >= 0, gt + 1, torch.where(gt == matchers.IGNORED, -1, 0)).numpy()
            np.testing.assert_array_equal(ours[firm], theirs[firm])
            best, name = overlaps[image].iou, f"{stage}_max_iou{image}"
            have = golden.sampled(best, len(train[name]))
            np.testing.assert_allclose(have, train[name], atol=1e-5)
            oriented.check_stats(best, train, name)
            # the targets of all positives of the original, in the order of the anchors
            rows = torch.from_numpy(np.flatnonzero(theirs > 0))
            truth = batch.targets[image].obb[torch.from_numpy(theirs[rows] - 1).long()]
            found = rotated_coders.encode_rotated(
                anchors[image][rows], truth, config.stds, config.lowest
            )
            np.testing.assert_allclose(found, train[f"{stage}_targets{image}"], atol=1e-4)


@pytest.mark.parametrize("prefix", ["", "empty1_", "empty_"])
def test_losses_and_gradients(prefix):
    train = system.load(NAME, "train")
    first, second = oriented.target(train, 0), oriented.target(train, 1)
    batch = golden.batch_b((first, oriented.NOTHING if prefix else second))
    if prefix == "empty_":
        batch = batch.part(range(1, 2))
    detector, found = system.build(system.weights(NAME))
    losses = detector.train()(batch, golden.in_order)
    assert list(losses) == ["loss_fam_cls", "loss_fam_reg", "loss_odm_cls", "loss_odm_reg"]
    for stage in ("fam", "odm"):
        for ours, theirs in (("cls", "loss_cls"), ("reg", "loss_bbox")):
            total = train[f"{prefix}{stage}.{theirs}"].sum()
            have = losses[f"loss_{stage}_{ours}"].item()
            np.testing.assert_allclose(have, total, rtol=1e-5, atol=1e-7)
    if prefix == "":
        np.testing.assert_allclose(sum(losses.values()).item(), train["loss_total"], rtol=1e-5)
        sum(losses.values()).backward()
        system.check_gradients(detector, train, found, prefix)


def test_every_key_of_the_large_one_is_used():
    state = system.weights(NAME, "keys")
    detector, found = system.build(state)
    assert found.recipe == f"{NAME}-r50-soda-a"
    assert {"model.backbone.name=resnet50", "model.angles=le90"} <= set(found.overrides)
    assert found.classes == 9
    assert len(detector.state_dict()) == len(state)
    # a constant that checkpoints hold beside the weights
    indices = {"odm_head.or_conv.indices": torch.ones(1, 3, 3, 8, dtype=torch.uint8)}
    system.build(state | indices)


def test_on_p3_and_coarser_levels_it_is_taken_to_be_of_dota():
    state = system.weights(NAME)
    fewer = {k: v for k, v in state.items() if not k.startswith("neck.lateral_convs.3.")}
    wanted = {"model.first_level=3", "model.anchor_scale=4.0", "model.angles=le135"}
    assert wanted <= set(families.recognise(fewer).overrides)
    assert not wanted & set(families.recognise(state).overrides)
