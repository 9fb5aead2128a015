"""ATSS, and DyHead on it, against the originals: same weights, same numbers."""

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch

from sodkit.models.parts import anchors, coders, dense_detect

LEVELS = range(4)


@pytest.fixture(scope="module", params=["atss", "dyhead"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def detector(name):
    return system.build(system.weights(name))[0].eval()


@pytest.fixture(scope="module")
def want(name):
    return system.load(name, "eval")


@pytest.fixture(scope="module")
def output(detector):
    with torch.no_grad():
        return detector.head(detector.pyramid(golden.batch_a().images))


def decoded(detector, output, level):
    """Return the anchors of a level, and their boxes, clipped."""
    grid = anchors.grid((256, 256), detector.levels)[level]
    boxes = coders.decode(grid, output.deltas[level][0], (0.1, 0.1, 0.2, 0.2))
    return grid, coders.clip(boxes, (256, 256))


@pytest.mark.parametrize("level", LEVELS)
def test_head(output, want, level):
    maps = {
        "cls": output.logits[level],
        "reg": output.deltas[level],
        "ctr": output.centerness[level][..., None],
    }
    for part, rows in maps.items():
        key = f"head_{part}_{level}"
        system.check_map(key, system.as_map(rows, want[f"{key}_shape"]), want, 1000)


@pytest.mark.parametrize("level", LEVELS)
def test_anchors_boxes_and_scores(detector, output, want, level):
    grid, boxes = decoded(detector, output, level)
    rows = np.linspace(0, len(grid) - 1, len(want[f"prior{level}"])).astype(int)
    assert len(grid) == want[f"prior{level}_n"]
    np.testing.assert_array_equal(grid[rows], want[f"prior{level}"])
    np.testing.assert_allclose(boxes[rows], want[f"dec{level}"], atol=1e-2)
    classes = output.logits[level][0].sigmoid()
    scores = classes * output.centerness[level][0].sigmoid()[:, None]
    np.testing.assert_allclose(scores[rows], want[f"score{level}"], atol=1e-4)
    assert (classes > 0.05).sum() == want["above_thr_per_level"][level]


def test_candidates(detector, output, want):
    def decode(level, rows, deltas):
        return decoded(detector, output, level)[1][rows]

    system.check_candidates(dense_detect.candidates(output, 0, 0.05, 1000, decode), want)


def test_detections(detector, want):
    system.check_detections(detector, want, 0.6)


@pytest.mark.parametrize("number", [0, 1])
def test_assignment(name, detector, number):
    want = system.load(name, "train")
    batch = golden.batch_b(system.targets(want))
    grid = anchors.grid(batch.padded, detector.levels)
    gt = detector.match(grid, batch.targets[number], batch.sizes[number])
    np.testing.assert_array_equal(gt + 1, want[f"assign_assigner_img{number}"])
    rows = torch.nonzero(gt >= 0)[:, 0]
    np.testing.assert_array_equal(rows, want[f"sample_sampler_img{number}_pos"])
    np.testing.assert_array_equal(torch.cat(grid)[rows], want[f"sample_sampler_img{number}_posbox"])


@pytest.mark.parametrize("prefix", ["", "nogt1_", "nogt2_"])
def test_losses_and_gradients(name, prefix):
    theirs = {
        "loss_cls": "loss_cls", "loss_reg": "loss_bbox", "loss_centerness": "loss_centerness"
    }  # fmt: skip
    system.check_losses(name, prefix, theirs)


def test_features_of_atss():
    detector = system.build(system.weights("atss"))[0].eval()
    system.check_features(detector, system.load("atss", "eval"))


def test_features_of_dyhead():
    detector, want = system.build(system.weights("dyhead"))[0].eval(), system.load("dyhead", "eval")
    with torch.no_grad():
        stages = detector.backbone(golden.batch_a().images)
        before = detector.fpn(stages[1:])
        pyramid = detector.pyramid(golden.batch_a().images)
    for number, stage in enumerate(stages, 2):
        system.check_map(f"C{number}", stage, want, 500)
    assert len(before) == len(pyramid) == 4
    for number, (level, after) in enumerate(zip(before, pyramid, strict=True), 3):
        system.check_map(f"P{number}", level, want, 500)
        system.check_map(f"D{number}", after, want, 1000)


@pytest.mark.parametrize(("own", "more"), [("atss", ()), ("dyhead", ("model.blocks=6",))])
def test_every_key_of_the_large_one_is_used(own, more):
    system.check_keys(own, "model.backbone.name=resnet50", "model.levels=4", *more)
