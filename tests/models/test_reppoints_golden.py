"""RepPoints against the benchmark's: same weights, same numbers."""

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch

from sodkit.models.parts import coders, dense_detect
from sodkit.models.parts.dense_head import DenseOutput

LEVELS = range(4)


@pytest.fixture(scope="module")
def reppoints():
    return system.build(system.weights("reppoints"))[0].eval().requires_grad_(False)


@pytest.fixture(scope="module")
def want():
    return system.load("reppoints", "eval")


@pytest.fixture(scope="module")
def output(reppoints):
    return reppoints.head(reppoints.pyramid(golden.batch_a().images))


def decoded(reppoints, output, level):
    """Return the locations of a level, and the boxes of their refined points, clipped."""
    locations = reppoints.locations(golden.batch_a())
    counts = [len(logits[0]) for logits in output.logits]
    at, stride = (x.split(counts)[level] for x in (locations.at, locations.stride))
    boxes = reppoints.in_pixels(output.refined[level][0], at, stride)
    return at, coders.clip(boxes, (256, 256))


def test_features(reppoints, want):
    system.check_features(reppoints, want)


@pytest.mark.parametrize("level", LEVELS)
def test_head(reppoints, output, want, level):
    maps = {
        "cls": output.logits[level],
        "pts_init": output.initial[level].flatten(2),
        "pts_refine": output.refined[level].flatten(2),
        "box": reppoints.head.boxes(output.refined[level]),
    }
    for name, rows in maps.items():
        key = f"head_{name}_{level}"
        system.check_map(key, system.as_map(rows, want[f"{key}_shape"]), want, 1000)


@pytest.mark.parametrize("level", LEVELS)
def test_points_boxes_and_scores(reppoints, output, want, level):
    at, boxes = decoded(reppoints, output, level)
    rows = np.linspace(0, len(at) - 1, len(want[f"prior{level}"])).astype(int)
    assert len(at) == want[f"prior{level}_n"]
    np.testing.assert_array_equal(at[rows], want[f"prior{level}"])
    np.testing.assert_allclose(boxes[rows], want[f"dec{level}"], atol=1e-2)
    scores = output.logits[level][0].sigmoid()
    np.testing.assert_allclose(scores[rows], want[f"score{level}"], atol=1e-4)
    assert (scores > 0.05).sum() == want["above_thr_per_level"][level]


def test_candidates(reppoints, output, want):
    def decode(level, rows, deltas):
        return decoded(reppoints, output, level)[1][rows]

    found = DenseOutput(output.logits, output.refined)
    system.check_candidates(dense_detect.candidates(found, 0, 0.05, 1000, decode), want)


def test_detections(reppoints, want):
    system.check_detections(reppoints, want, 0.5)


@pytest.mark.parametrize("number", [0, 1])
def test_assignments_of_both_stages(reppoints, number):
    want = system.load("reppoints", "train")
    batch = golden.batch_b(system.targets(want))
    locations, target, size = reppoints.locations(batch), batch.targets[number], batch.sizes[number]
    sets = torch.cat(reppoints.head(reppoints.pyramid(batch.images)).initial, 1)[number]
    boxes = reppoints.in_pixels(sets, locations.at, locations.stride)
    nearest = reppoints.match_locations(locations, target, size)
    overlapping = reppoints.match_boxes(boxes, locations, target, size)
    np.testing.assert_array_equal(nearest + 1, want[f"assign_init_assigner_img{number}"])
    theirs = torch.where(overlapping >= -1, overlapping + 1, -1)
    np.testing.assert_array_equal(theirs, want[f"assign_refine_assigner_img{number}"])
    # the original samples both images in the first stage, then both in the second one
    points = torch.cat([locations.at, locations.stride, locations.stride], 1)
    for image, gt, of in ((number, nearest, points), (2 + number, overlapping, boxes)):
        rows = torch.nonzero(gt >= 0)[:, 0]
        np.testing.assert_array_equal(rows, want[f"sample_sampler_img{image}_pos"])
        theirs = want[f"sample_sampler_img{image}_posbox"]
        np.testing.assert_allclose(of[rows], theirs, atol=1e-2)


@pytest.mark.parametrize("prefix", ["", "nogt1_", "nogt2_"])
def test_losses_and_gradients(prefix):
    theirs = {
        "loss_cls": "loss_cls", "loss_init": "loss_pts_init", "loss_refine": "loss_pts_refine"
    }  # fmt: skip
    system.check_losses("reppoints", prefix, theirs)


def test_every_key_of_the_large_one_is_used():
    system.check_keys("reppoints", "model.backbone.name=resnet50", "model.levels=4")
