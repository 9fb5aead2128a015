"""RFLA on Faster R-CNN against its original: same weights, same numbers."""

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch
import two_stage_golden as two_stage

from sodkit.config import load_recipe
from sodkit.models import zoo
from sodkit.models.importers import families, mmdet
from sodkit.models.parts import anchors, coders, sampling
from sodkit.models.parts.receptive_match import shrink

RECIPE = "rfla-r50-soda-d"


def build(*overrides, keys="keys_small"):
    """Return the detector with the golden weights; their names are Faster R-CNN's."""
    state = system.weights("rfla", keys)
    found = families.recognise(state)
    recipe = load_recipe(RECIPE, [*found.overrides, *overrides])
    detector = zoo.build(recipe.model, found.classes)
    detector.load_state_dict(mmdet.convert(state, detector, found.table, found.joins))
    return detector, found, recipe


@pytest.fixture(scope="module")
def rfla():
    return two_stage.run(build()[0].eval())


@pytest.fixture(scope="module")
def want():
    return system.load("rfla", "eval")


@pytest.fixture(scope="module")
def trained():
    return system.load("rfla", "train")


def test_features_and_head(rfla, want):
    two_stage.check_features(rfla, want)
    for level in range(5):
        for name, rows in (("cls", rfla.output.logits), ("reg", rfla.output.deltas)):
            key = f"head_rpn_{name}_{level}"
            rows_of = system.as_map(rows[level], want[f"{key}_shape"])
            system.check_map(key, rows_of, want, 1000)


def test_priors_and_their_boxes(rfla, want):
    stds = rfla.detector.rpn.config.stds
    for level in range(5):
        priors = rfla.output.anchors[level][0]
        boxes = coders.clip(coders.decode(priors, rfla.output.deltas[level][0], stds), (256, 256))
        two_stage.check_priors(level, priors, boxes, want)


def test_proposals_and_what_the_head_makes_of_them(rfla, want):
    proposals = two_stage.check_proposals(rfla, want)
    two_stage.check_head(rfla, proposals, want, 0.05)


def test_proposals_as_in_training(rfla, want):
    rfla.detector.train()
    two_stage.check_proposals(rfla, want, "proposals_traincfg")
    rfla.detector.eval()


def test_detections(rfla, want):
    two_stage.check_detections(rfla.detector, load_recipe(RECIPE).keep, want)


@pytest.mark.parametrize("number", [0, 1])
def test_assignment_and_samples(rfla, trained, number):
    batch = golden.batch_b(system.targets(trained))
    grid = torch.cat(anchors.grid(batch.padded, rfla.detector.rpn.levels))
    gt = rfla.detector.rpn.match(grid, batch.targets[number], batch.sizes[number])
    two_stage.check_assignment(gt, trained[f"assign_assigner_img{number}"])
    rule = rfla.detector.rpn.config.matching
    ((positive, negative),) = sampling.sample([gt], rule, golden.in_order)
    name = f"sample_sampler_img{number}"
    np.testing.assert_array_equal(positive, trained[f"{name}_pos"])
    np.testing.assert_array_equal(negative, trained[f"{name}_neg"])
    np.testing.assert_allclose(grid[positive], trained[f"{name}_posbox_fixed"], atol=1e-4)
    shrunk = shrink(grid[positive], rule.shrink)
    np.testing.assert_allclose(shrunk, trained[f"{name}_posbox"], atol=1e-4)


def test_samples_of_the_head(trained):
    detector = build()[0].train()
    batch = golden.batch_b(system.targets(trained))
    with torch.no_grad():
        pyramid = detector.fpn(detector.backbone(batch.images))
        proposals = detector.rpn.select(detector.rpn(pyramid, batch), batch)
        rois = detector.roi.sample(proposals, batch.targets, golden.in_order)
    two_stage.check_head_samples(detector, rois, proposals, batch, trained)


@pytest.mark.parametrize("prefix", two_stage.GIVEN)
def test_losses_and_gradients_of_the_release(trained, prefix):
    """Its box targets refer to the shrunk priors."""
    detector, found, _ = build("model.proposals.shrunk_targets=true")
    batch = golden.batch_b(two_stage.given(prefix, trained))
    losses = detector.train()(batch, golden.in_order)
    two_stage.check_losses(losses, trained, prefix)
    if f"{prefix}grad_names" in trained:
        sum(losses.values()).backward()
        system.check_gradients(detector, trained, found, prefix)


def test_losses_repaired(trained):
    """By default the boxes are learnt from the priors that they are decoded from."""
    detector, *_ = build()
    batch = golden.batch_b(system.targets(trained))
    losses = detector.train()(batch, golden.in_order)
    fixed = {**trained, "loss_rpn_bbox": trained["loss_rpn_bbox_fixed"]}
    fixed["loss_rpn_cls"] = trained["loss_rpn_cls_fixed"]
    more = fixed["loss_rpn_bbox"].sum() - trained["loss_rpn_bbox"].sum()
    fixed["loss_total"] = trained["loss_total"] + more
    assert more > 0.01
    two_stage.check_losses(losses, fixed, "")


def test_every_key_of_the_large_one_is_used():
    detector, found, recipe = build(keys="keys")
    assert recipe.model.backbone.name == "resnet50"
    assert found.classes == 9
    assert len(detector.state_dict()) == len(system.weights("rfla", "keys"))
