"""ATSS against the benchmark's: same weights, same numbers."""

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch

from sodkit.models.parts import anchors, coders, dense_detect

LEVELS = range(4)


@pytest.fixture(scope="module")
def atss():
    return system.build(system.weights("atss"))[0].eval()


@pytest.fixture(scope="module")
def want():
    return system.load("atss", "eval")


@pytest.fixture(scope="module")
def output(atss):
    with torch.no_grad():
        return atss.head(atss.pyramid(golden.batch_a().images))


def decoded(atss, output, level):
    """Return the anchors of a level, and their boxes, clipped."""
    grid = anchors.grid((256, 256), atss.levels)[level]
    boxes = coders.decode(grid, output.deltas[level][0], (0.1, 0.1, 0.2, 0.2))
    return grid, coders.clip(boxes, (256, 256))


def test_features(atss, want):
    system.check_features(atss, want)


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
def test_anchors_boxes_and_scores(atss, output, want, level):
    grid, boxes = decoded(atss, output, level)
    rows = np.linspace(0, len(grid) - 1, len(want[f"prior{level}"])).astype(int)
    assert len(grid) == want[f"prior{level}_n"]
    np.testing.assert_array_equal(grid[rows], want[f"prior{level}"])
    np.testing.assert_allclose(boxes[rows], want[f"dec{level}"], atol=1e-2)
    classes = output.logits[level][0].sigmoid()
    scores = classes * output.centerness[level][0].sigmoid()[:, None]
    np.testing.assert_allclose(scores[rows], want[f"score{level}"], atol=1e-4)
    assert (classes > 0.05).sum() == want["above_thr_per_level"][level]


def test_candidates(atss, output, want):
    def decode(level, rows, deltas):
        return decoded(atss, output, level)[1][rows]

    system.check_candidates(dense_detect.candidates(output, 0, 0.05, 1000, decode), want)


def test_detections(atss, want):
    system.check_detections(atss, want, 0.6)


@pytest.mark.parametrize("number", [0, 1])
def test_assignment(atss, number):
    want = system.load("atss", "train")
    batch = golden.batch_b(system.targets(want))
    grid = anchors.grid(batch.padded, atss.levels)
    gt = atss.match(grid, batch.targets[number], batch.sizes[number])
    np.testing.assert_array_equal(gt + 1, want[f"assign_assigner_img{number}"])
    rows = torch.nonzero(gt >= 0)[:, 0]
    np.testing.assert_array_equal(rows, want[f"sample_sampler_img{number}_pos"])
    np.testing.assert_array_equal(torch.cat(grid)[rows], want[f"sample_sampler_img{number}_posbox"])


@pytest.mark.parametrize("prefix", ["", "nogt1_", "nogt2_"])
def test_losses_and_gradients(prefix):
    theirs = {
        "loss_cls": "loss_cls", "loss_reg": "loss_bbox", "loss_centerness": "loss_centerness"
    }  # fmt: skip
    system.check_losses("atss", prefix, theirs)


def test_every_key_of_the_large_one_is_used():
    system.check_keys("atss", "model.backbone.name=resnet50", "model.levels=4")
