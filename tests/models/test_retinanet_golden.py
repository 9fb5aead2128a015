"""RetinaNet against mmdetection's: same weights, same numbers."""

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch

from sodkit.models.parts import anchors, coders
from sodkit.settings import Keep


@pytest.fixture(scope="module")
def retinanet():
    return system.build(system.weights("retinanet"))[0].eval()


@pytest.fixture(scope="module")
def want():
    return system.load("retinanet", "eval")


def test_features_and_head(retinanet, want):
    images = golden.batch_a().images
    with torch.no_grad():
        stages, pyramid = retinanet.backbone(images), retinanet.pyramid(images)
        output = retinanet.head(pyramid)
    for number, (c, p) in enumerate(zip(stages, [None, *pyramid[:3]], strict=True), 2):
        system.check_map(f"C{number}", c, want, 500)
        if p is not None:
            system.check_map(f"P{number}", p, want, 500)
    system.check_map("P6", pyramid[3], want, 500)
    for level in range(4):
        for name, rows in (("cls", output.logits[level]), ("reg", output.deltas[level])):
            key = f"head_{name}_{level}"
            system.check_map(key, system.as_map(rows, want[f"{key}_shape"]), want, 1000)


def test_anchors_boxes_and_scores(retinanet, want):
    images = golden.batch_a()
    grid = anchors.grid(images.padded, retinanet.levels)
    with torch.no_grad():
        output = retinanet.head(retinanet.pyramid(images.images))
    for level in range(4):
        rows = np.linspace(0, len(grid[level]) - 1, len(want[f"prior{level}"])).astype(int)
        assert len(grid[level]) == want[f"prior{level}_n"]
        np.testing.assert_allclose(grid[level][rows], want[f"prior{level}"], atol=1e-4)
        deltas, logits = output.deltas[level][0], output.logits[level][0]
        boxes = coders.clip(coders.decode(grid[level], deltas, (1.0,) * 4), (256, 256))
        np.testing.assert_allclose(boxes[rows], want[f"dec{level}"], atol=1e-2)
        np.testing.assert_allclose(logits[rows].sigmoid(), want[f"score{level}"], atol=1e-4)
        assert (logits.sigmoid() > 0.05).sum() == want["above_thr_per_level"][level]


def test_detections(retinanet, want):
    # the golden values of the patch's pixels divide before the NMS, ours after it
    (found,) = retinanet.detect(golden.batch_a(), Keep())
    np.testing.assert_allclose(found.boxes * golden.SCALE, want["det_boxes"], atol=1e-2)
    np.testing.assert_allclose(found.scores, want["det_scores"], atol=1e-4)
    np.testing.assert_array_equal(found.labels, want["det_labels"])


def test_all_that_the_nms_leaves(retinanet, want):
    (found,) = retinanet.detect(golden.batch_a(), Keep(max_per_patch=100000))
    assert len(found.scores) == want["detall_n"]
    np.testing.assert_array_equal(np.bincount(found.labels, minlength=9), want["detall_per_class"])
    have = torch.cat([found.boxes * golden.SCALE, found.scores[:, None], found.labels[:, None]], 1)
    gap = np.abs(want["detall_top"][:, None] - have[None, :310].numpy()).max(2).min(1)
    assert gap.max() < 1e-2


@pytest.mark.parametrize("number", [0, 1])
def test_assignment(retinanet, number):
    want = system.load("retinanet", "train")
    batch = golden.batch_b(system.targets(want))
    grid = torch.cat(anchors.grid(batch.padded, retinanet.levels))
    gt = retinanet.match(grid, batch.targets[number], batch.sizes[number])
    theirs = torch.where(gt >= 0, gt + 1, torch.where(gt == -1, 0, -1))
    np.testing.assert_array_equal(theirs, want[f"assign_assigner_img{number}"])


@pytest.mark.parametrize("prefix", ["", "nogt1_", "nogt2_"])
def test_losses_and_gradients(prefix):
    want = system.load("retinanet", "train")
    first, second = system.targets(want)
    given = {"": (first, second), "nogt1_": (first, system.NONE), "nogt2_": (system.NONE,) * 2}
    detector, found = system.build(system.weights("retinanet"))
    losses = detector.train()(golden.batch_b(given[prefix]), golden.in_order)
    assert list(losses) == ["loss_cls", "loss_reg"]
    for key, theirs in (("loss_cls", "loss_cls"), ("loss_reg", "loss_bbox")):
        np.testing.assert_allclose(
            losses[key].item(), want[f"{prefix}{theirs}"].sum(), rtol=1e-5, atol=1e-7
        )
    if f"{prefix}grad_names" in want:
        sum(losses.values()).backward()
        system.check_gradients(detector, want, found, prefix)


def test_every_key_of_the_large_one_is_used():
    detector, found = system.build(system.weights("retinanet", "keys"))
    assert "model.backbone.name=resnet50" in found.overrides
    assert found.classes == 9
    assert len(detector.state_dict()) == len(system.weights("retinanet", "keys"))
