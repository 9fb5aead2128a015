"""DyHead on ATSS against mmdetection's: same weights, same numbers."""

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch

from sodkit.models.parts import anchors, coders, dense_detect

LEVELS = range(4)


@pytest.fixture(scope="module")
def dyhead():
    return system.build(system.weights("dyhead"))[0].eval().requires_grad_(False)


@pytest.fixture(scope="module")
def want():
    return system.load("dyhead", "eval")


@pytest.fixture(scope="module")
def pyramid(dyhead):
    return dyhead.pyramid(golden.batch_a().images)


@pytest.fixture(scope="module")
def output(dyhead, pyramid):
    return dyhead.head(pyramid)


def decoded(dyhead, output, level):
    """Return the anchors of a level, and their boxes, clipped."""
    grid = anchors.grid((256, 256), dyhead.levels)[level]
    boxes = coders.decode(grid, output.deltas[level][0], (0.1, 0.1, 0.2, 0.2))
    return grid, coders.clip(boxes, (256, 256))


def test_features(dyhead, pyramid, want):
    stages = dyhead.backbone(golden.batch_a().images)
    for number, stage in enumerate(stages, 2):
        system.check_map(f"C{number}", stage, want, 500)
    before = dyhead.fpn(stages[1:])
    assert len(before) == len(pyramid) == 4
    for number, (level, after) in enumerate(zip(before, pyramid, strict=True), 3):
        system.check_map(f"P{number}", level, want, 500)
        system.check_map(f"D{number}", after, want, 1000)


@pytest.mark.parametrize("level", LEVELS)
def test_head(output, want, level):
    maps = {
        "cls": output.logits[level],
        "reg": output.deltas[level],
        "ctr": output.centerness[level][..., None],
    }
    for name, rows in maps.items():
        key = f"head_{name}_{level}"
        system.check_map(key, system.as_map(rows, want[f"{key}_shape"]), want, 1000)


@pytest.mark.parametrize("level", LEVELS)
def test_anchors_boxes_and_scores(dyhead, output, want, level):
    grid, boxes = decoded(dyhead, output, level)
    rows = np.linspace(0, len(grid) - 1, len(want[f"prior{level}"])).astype(int)
    assert len(grid) == want[f"prior{level}_n"]
    np.testing.assert_array_equal(grid[rows], want[f"prior{level}"])
    np.testing.assert_allclose(boxes[rows], want[f"dec{level}"], atol=1e-2)
    classes = output.logits[level][0].sigmoid()
    scores = classes * output.centerness[level][0].sigmoid()[:, None]
    np.testing.assert_allclose(scores[rows], want[f"score{level}"], atol=1e-4)
    assert (classes > 0.05).sum() == want["above_thr_per_level"][level]


def test_candidates(dyhead, output, want):
    def decode(level, rows, deltas):
        return decoded(dyhead, output, level)[1][rows]

    system.check_candidates(dense_detect.candidates(output, 0, 0.05, 1000, decode), want)


def test_detections(dyhead, want):
    system.check_detections(dyhead, want, 0.6)


@pytest.mark.parametrize("number", [0, 1])
def test_assignment(dyhead, number):
    want = system.load("dyhead", "train")
    batch = golden.batch_b(system.targets(want))
    grid = anchors.grid(batch.padded, dyhead.levels)
    gt = dyhead.match(grid, batch.targets[number], batch.sizes[number])
    np.testing.assert_array_equal(gt + 1, want[f"assign_assigner_img{number}"])
    rows = torch.nonzero(gt >= 0)[:, 0]
    np.testing.assert_array_equal(rows, want[f"sample_sampler_img{number}_pos"])
    np.testing.assert_array_equal(torch.cat(grid)[rows], want[f"sample_sampler_img{number}_posbox"])


@pytest.mark.parametrize("prefix", ["", "nogt1_", "nogt2_"])
def test_losses_and_gradients(prefix):
    theirs = {
        "loss_cls": "loss_cls", "loss_reg": "loss_bbox", "loss_centerness": "loss_centerness"
    }  # fmt: skip
    system.check_losses("dyhead", prefix, theirs)


def test_every_key_of_the_large_one_is_used():
    system.check_keys("dyhead", "model.backbone.name=resnet50", "model.levels=4", "model.blocks=6")
