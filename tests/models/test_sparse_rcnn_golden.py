"""Sparse R-CNN against mmdetection's: same weights, same numbers."""

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch
from torch.nn import functional as F

from sodkit.models.kernels import roi_pool
from sodkit.models.parts import hungarian
from sodkit.settings import Keep

STAGES = (0, 1)
NO_OBJECTS = 1.1920929e-7
"""What mmdetection divides by when a batch has no objects; we divide by 1."""


@pytest.fixture(scope="module")
def sparse():
    return system.build(system.weights("sparse-rcnn"))[0].eval()


@pytest.fixture(scope="module")
def want():
    return system.load("sparse-rcnn", "eval")


def test_features(sparse, want):
    # p6 is of a convolution that no box is pooled from: it is not imported
    images = golden.batch_a().images
    with torch.no_grad():
        stages = sparse.backbone(images)
        pyramid = sparse.fpn(list(stages))
    assert len(pyramid) == 4
    system.check_sample("x", images, want)
    for level, (c, p) in enumerate(zip(stages, pyramid, strict=True), 2):
        system.check_sample(f"c{level}", c, want)
        system.check_sample(f"p{level}", p, want)


def test_every_stage(sparse, want):
    batch = golden.batch_a()
    inner = {}
    with torch.no_grad():
        pyramid = sparse.fpn(sparse.backbone(batch.images))
        boxes, features = sparse.start(batch)
        golden.close(boxes[0], want["proposals0"])
        system.check_sample("proposal_feat", features, want)
        for number, stage in enumerate(sparse.stages):
            np.testing.assert_array_equal(roi_pool.levels(boxes[0], 4), want[f"roi_level{number}"])
            rois = sparse.pool(pyramid, boxes)
            system.check_sample(f"roi_feat{number}", rois, want, 4000)
            attended = stage.attend(features)
            system.check_sample(f"attn{number}", attended, want)
            hook = stage.dynamic.norm_in.register_forward_hook(
                lambda _module, _given, result, at=number: inner.update({at: F.relu(result)})
            )
            system.check_sample(f"dyn{number}", stage.dynamic(attended[0], rois), want)
            hook.remove()
            system.check_sample(f"dynin{number}", inner[number], want)
            refined = stage(features, rois, boxes)
            boxes, features = refined.boxes, refined.features
            system.check_sample(f"obj{number}", features, want)
            golden.close(refined.logits[0], want[f"logits{number}"])
            golden.close(refined.deltas[0], want[f"delta{number}"])
            np.testing.assert_allclose(boxes[0], want[f"boxes{number}"], atol=1e-2)


def test_detections(sparse, want):
    # the original neither sorts nor clips them: compared as sets, its boxes clipped
    (found,) = sparse.detect(golden.batch_a(), Keep(score=0, max_per_patch=50))
    for key, scale in (("det", golden.SCALE), ("detr", 1.0)):
        theirs = want[f"{key}_boxes"]
        theirs[:, :4] = theirs[:, :4].clip(0, 256 / golden.SCALE * scale)
        order = np.argsort(-theirs[:, 4], kind="stable")
        assert len(found.scores) == len(theirs)
        np.testing.assert_allclose(found.scores, theirs[order, 4], atol=1e-5)
        np.testing.assert_allclose(found.boxes * scale, theirs[order, :4], atol=1e-2)
        np.testing.assert_array_equal(found.labels, want[f"{key}_labels"][order])


def test_boxes_scores_and_matches_in_training():
    want = system.load("sparse-rcnn", "train")
    detector, _ = system.build(system.weights("sparse-rcnn", use="train"))
    batch = golden.batch_b(golden.targets(want))
    with torch.no_grad():
        refined = detector.train().refine(batch)
    for stage in STAGES:
        golden.close(refined[stage].logits, want["logits"][stage])
        np.testing.assert_allclose(refined[stage].boxes, want["boxes"][stage], atol=1e-2)
    matched = hungarian.match(refined, batch, detector.config.loss)
    for stage, pairs in enumerate(matched):
        gt = torch.full((2 * 50,), -1)
        gt[pairs.query] = pairs.object % 12
        np.testing.assert_array_equal(gt.reshape(2, 50), want["assign"][stage])
        assert (pairs.query // 50).tolist() == (pairs.object // 12).tolist()
        assert not pairs.left_out.any()


@pytest.mark.parametrize("prefix", ["", "empty1/", "empty2/"])
def test_losses_and_gradients(prefix):
    want = system.load("sparse-rcnn", "train")
    first, second = golden.targets(want)
    given = {"": (first, second), "empty1/": (first, system.NONE), "empty2/": (system.NONE,) * 2}
    detector, found = system.build(system.weights("sparse-rcnn", use="train"))
    losses = detector.train()(golden.batch_b(given[prefix]), golden.in_order)
    assert len(losses) == 6
    defect = NO_OBJECTS if prefix == "empty2/" else 1.0
    for stage in STAGES:
        for ours, theirs in (("cls", "cls"), ("l1", "bbox"), ("giou", "iou")):
            value = want[f"{prefix}loss/stage{stage}_loss_{theirs}"] * defect
            have = losses[f"loss_{ours}_{stage + 1}"].item()
            np.testing.assert_allclose(have, value, rtol=1e-5, atol=1e-7, err_msg=ours)
    total = sum(losses.values())
    np.testing.assert_allclose(total.item(), want[f"{prefix}loss/total"] * defect, rtol=1e-5)
    if not prefix:
        total.backward()
        system.check_gradients(detector, want, found, prefix, "grad_norm")


def test_every_key_of_the_large_one_is_used():
    state = system.weights("sparse-rcnn", "keys")
    detector, found = system.build(state)
    assert found.recipe == "sparse-rcnn-r50-soda-d"
    assert "model.backbone.name=resnet50" in found.overrides
    assert found.classes == 9
    unused = [key for key in state if key.startswith("neck.fpn_convs.4.")]
    assert len(detector.state_dict()) == len(state) - len(unused) == len(state) - 2
    assert sum(p.numel() for p in detector.parameters()) == 110_900_254 - (2048 * 9 + 1) * 256
