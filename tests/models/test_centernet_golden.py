"""CenterNet against mmdetection's: same weights, same numbers."""

from dataclasses import replace

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch

from sodkit.settings import Keep


@pytest.fixture(scope="module")
def centernet():
    return system.build(system.weights("centernet"))[0].eval()


@pytest.fixture(scope="module")
def want():
    return system.load("centernet", "eval")


@pytest.fixture(scope="module")
def trained():
    return system.load("centernet", "train")


def training():
    return system.build(system.weights("centernet", use="train"))


def test_features_and_maps(centernet, want):
    images = golden.batch_a().images
    system.check_sample("x", images, want)
    with torch.no_grad():
        stages = centernet.backbone(images)
        for level, stage in enumerate(stages, 2):
            system.check_sample(f"c{level}", stage, want)
        x = stages[-1]
        for number, layer in enumerate(centernet.neck):
            x = layer(x)
            system.check_sample(f"neck{number}", x, want)
        output = centernet.head(x)
    system.check_sample("heatmap", output.logits.sigmoid(), want)
    system.check_sample("wh", output.size, want)
    system.check_sample("offset", output.offset, want)


def test_detections(centernet, want):
    # the original does not clip them, and some of its sides are negative: ours are then 0
    (found,) = centernet.detect(golden.batch_a(), Keep(score=0, max_per_patch=100))
    low, high = want["decoded"][:, :2], want["decoded"][:, 2:4]
    middle, half = (low + high) / 2, ((high - low) / 2).clip(min=0)
    boxes = np.concatenate([middle - half, middle + half], 1).clip(0, 256)
    np.testing.assert_allclose(found.boxes * golden.SCALE, boxes, atol=1e-2)
    np.testing.assert_allclose(found.scores, want["decoded"][:, 4], atol=1e-5)
    np.testing.assert_array_equal(found.labels, want["decoded_labels"])


def test_detections_of_a_canvas_are_those_moved(want):
    # det and detr are what the test above compares, in pixels of the image in its canvas
    top, _, left, _ = want["border"]
    inside = want["decoded"] - [left, top, left, top, 0]
    np.testing.assert_allclose(want["det_boxes"], inside, atol=1e-4)
    np.testing.assert_allclose(want["detr_boxes"][:, :4], inside[:, :4] / 1.5, atol=1e-4)
    np.testing.assert_array_equal(want["detr_labels"], want["decoded_labels"])


def test_targets(trained):
    detector, _ = training()
    batch = golden.batch_b(golden.targets(trained))
    shape = torch.Size((2, 9, 64, 64))
    centres = detector.centres(batch, shape)
    heat = detector.heat(centres, shape)
    system.check_sample("heatmap_target", heat, trained)
    filled = heat.flatten().nonzero()[:, 0]
    np.testing.assert_array_equal(filled, trained["heatmap_target_nz"])
    np.testing.assert_allclose(heat.flatten()[filled], trained["heatmap_target_nzval"], atol=1e-6)
    assert (heat == 1).sum() == trained["avg_factor"]
    order = centres.place.argsort()
    assert centres.learnt.all()
    np.testing.assert_array_equal(centres.place[order], trained["centre_idx"])
    np.testing.assert_allclose(centres.size[order], trained["wh_target"], atol=1e-5)
    np.testing.assert_allclose(centres.offset[order], trained["offset_target"], atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "empty1/", "empty2/"])
def test_losses_and_gradients(trained, prefix):
    first, second = golden.targets(trained)
    given = {"": (first, second), "empty1/": (first, system.NONE), "empty2/": (system.NONE,) * 2}
    batch = golden.batch_b(given[prefix])
    detector, found = training()
    names = {"heatmap": "center_heatmap", "size": "wh", "offset": "offset"}
    losses = detector.train()(batch, golden.in_order)
    norm = detector.neck[0][1]
    mean, var = (trained[f"after_step_neck0_running_{name}"] for name in ("mean", "var"))
    if not prefix:
        golden.close(norm.running_mean[: len(mean)], mean)
        golden.close(norm.running_var[: len(var)], var)
    # statistics of the batch lose more in float32 than stored ones
    check_losses(losses, names, trained, prefix, 3e-5)
    images = replace(batch, images=batch.images.double())
    losses = detector.double()(images, golden.in_order)
    check_losses(losses, names, trained, prefix, 1e-6)
    sum(losses.values()).backward()
    if not prefix:
        system.check_gradients(detector, trained, found, prefix, "grad_norm", rtol=1e-4)


def check_losses(losses, names, trained, prefix, rtol):
    assert list(losses) == [f"loss_{name}" for name in names]
    for ours, theirs in names.items():
        value = trained[f"{prefix}loss/loss_{theirs}"]
        have = losses[f"loss_{ours}"].item()
        np.testing.assert_allclose(have, value, rtol=rtol, atol=1e-7, err_msg=ours)
    total = sum(losses.values()).item()
    np.testing.assert_allclose(total, trained[f"{prefix}loss/total"], rtol=rtol)


def test_every_key_of_the_large_one_is_used():
    state = system.weights("centernet", "keys")
    detector, found = system.build(state)
    assert found.recipe == "centernet-r50-soda-d"
    assert "model.backbone.name=resnet50" in found.overrides
    assert found.classes == 9
    assert len(detector.state_dict()) == len(state)
    assert sum(p.numel() for p in detector.parameters()) == 70_751_309
