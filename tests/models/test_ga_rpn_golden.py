"""GA-RPN as proposals of Faster R-CNN against its original: same weights, same numbers."""

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch
import two_stage_golden as two_stage

from sodkit.config import load_recipe
from sodkit.models import zoo
from sodkit.models.importers import families, mmdet
from sodkit.models.parts import anchors, coders, sampling, selection
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.selection import Selection

RECIPE = "ga-rpn-r50-soda-d"
LOSSES = {
    "loss_location": "loss_anchor_loc",
    "loss_shape": "loss_anchor_shape",
    **two_stage.THEIRS,
}
LEVELS = range(5)


@pytest.fixture(scope="module")
def ga():
    return two_stage.run(system.build(system.weights("ga-rpn"))[0].eval())


@pytest.fixture(scope="module")
def want():
    return system.load("ga-rpn", "eval")


@pytest.fixture(scope="module")
def trained():
    return system.load("ga-rpn", "train")


def head(output, level):
    """Return the outputs of a level by the names of the golden arrays."""
    scored = output.scored
    return {
        "rpn_cls": scored.logits[level],
        "rpn_reg": scored.deltas[level],
        "shape": output.shapes[level],
        "loc": output.location[level],
    }


def test_features_and_head(ga, want):
    """Theirs computes objectness and deltas where the location is likely, and has 0 elsewhere."""
    two_stage.check_features(ga, want)
    likely = ga.detector.rpn.likely(ga.output)
    for level in LEVELS:
        for name, rows in head(ga.output, level).items():
            key = f"head_{name}_{level}"
            if name.startswith("rpn"):
                rows = rows * likely[level].reshape(likely[level].shape + (1,) * (rows.dim() - 2))
            system.check_map(key, system.as_map(rows, want[f"{key}_shape"]), want, 1000)


def test_locations_that_are_likely(ga, want):
    for level, mask in enumerate(ga.detector.rpn.likely(ga.output)):
        assert mask.sum() == want["loc_kept_per_level"][level]
        bits = np.unpackbits(want[f"loc_mask{level}"])[: mask.numel()]
        np.testing.assert_array_equal(mask[0], bits.astype(bool))


def test_guided_anchors_and_their_boxes(ga, want):
    stds = ga.detector.rpn.config.stds
    for level in LEVELS:
        priors, deltas = (x[level][0] for x in (ga.output.scored.anchors, ga.output.scored.deltas))
        likely = ga.detector.rpn.likely(ga.output)[level][0]
        boxes = coders.clip(coders.decode(priors, deltas * likely[:, None], stds), (256, 256))
        two_stage.check_priors(level, priors, boxes, want, 1e-2)


def test_proposals_and_what_the_head_makes_of_them(ga, want):
    proposals = two_stage.check_proposals(ga, want)
    two_stage.check_head(ga, proposals, want, 0.001)


def test_proposals_with_the_numbers_of_training(ga, want):
    """The golden values are of evaluation with these numbers: unlikely locations are left out."""
    rpn, batch = ga.detector.rpn, golden.batch_a()
    how = Selection.of(rpn.config, training=True, limit=None)
    scored, likely = ga.output.scored, rpn.likely(ga.output)
    (found,) = selection.select(scored, batch.sizes, rpn.config.stds, how, likely=likely)
    two_stage.compare_proposals(found, want, "proposals_traincfg")


def test_detections(ga, want):
    two_stage.check_detections(ga.detector, load_recipe(RECIPE).keep, want)


@pytest.fixture(scope="module")
def training(trained):
    """The detector, the batch and the RPN's output in training."""
    detector = system.build(system.weights("ga-rpn"))[0].train()
    batch = golden.batch_b(system.targets(trained))
    with torch.no_grad():
        pyramid = detector.fpn(detector.backbone(batch.images))
        return detector, batch, detector.rpn(pyramid, batch)


def check_samples(gt, rule, boxes, want, name):
    ((positive, negative),) = sampling.sample([gt], rule, golden.in_order)
    np.testing.assert_array_equal(positive, want[f"{name}_pos"])
    np.testing.assert_array_equal(negative, want[f"{name}_neg"])
    np.testing.assert_allclose(boxes[positive], want[f"{name}_posbox"], atol=1e-2)


@pytest.mark.parametrize("image", [0, 1])
def test_assignment_of_shapes(training, trained, image):
    detector, batch, output = training
    rpn, squares = detector.rpn, torch.cat(output.squares)
    boxes = torch.cat(anchors.grid(batch.padded, rpn.shape_levels)).reshape(len(squares), -1, 4)
    gt = rpn.match_shape(squares, boxes, batch.targets[image])
    two_stage.check_assignment(gt, trained[f"assign_ga_assigner_img{image}"])
    name = f"sample_ga_sampler_img{image}"
    check_samples(gt, rpn.config.shape_matching, squares, trained, name)


@pytest.mark.parametrize("image", [0, 1])
def test_assignment_of_guided_anchors(training, trained, image):
    detector, batch, output = training
    guided = torch.cat(output.scored.anchors, 1)[image]
    gt = detector.rpn.match(guided, batch.targets[image], batch.sizes[image])
    two_stage.check_assignment(gt, trained[f"assign_assigner_img{image}"])
    name = f"sample_sampler_img{image}"
    check_samples(gt, detector.rpn.config.matching, guided, trained, name)


def test_targets_of_locations(training, trained):
    detector, batch, output = training
    squares = torch.cat(output.squares)
    gts = [detector.rpn.match_location(squares, target) for target in batch.targets]
    counts = [len(level) for level in output.squares]
    for level, found in enumerate(torch.stack(gts).split(counts, 1)):
        weight = trained[f"loc_weight{level}"].reshape(found.shape)
        target = np.unpackbits(trained[f"loc_target{level}"])[: found.numel()].reshape(found.shape)
        np.testing.assert_array_equal(found >= 0, (target == 1) & (weight != 0))
        np.testing.assert_array_equal(found == NEGATIVE, (target == 0) & (weight != 0))
        assert len(np.unique(weight)) <= 3
    assert trained["loc_avg_factor"] == len(batch.targets) * sum(counts) / 200


def test_samples_of_the_head(training, trained):
    detector, batch, output = training
    with torch.no_grad():
        proposals = detector.rpn.select(output, batch)
        rois = detector.roi.sample(proposals, batch.targets, golden.in_order)
    two_stage.check_head_samples(detector, rois, proposals, batch, trained)


@pytest.mark.parametrize("prefix", two_stage.GIVEN)
def test_losses_and_gradients_of_the_release(trained, prefix):
    """Its locations are trained upside down, which the importer recognises by the names."""
    detector, found = system.build(system.weights("ga-rpn"))
    assert detector.rpn.config.location == "released"
    losses = detector.train()(golden.batch_b(two_stage.given(prefix, trained)), golden.in_order)
    two_stage.check_losses(losses, trained, prefix, LOSSES)
    if f"{prefix}grad_names" in trained:
        sum(losses.values()).backward()
        system.check_gradients(detector, trained, found, prefix)


def test_losses_repaired(trained):
    """By default the location score is high at the centres of objects."""
    state = system.weights("ga-rpn")
    found = families.recognise(state)
    recipe = load_recipe(found.recipe, [*found.overrides, "model.proposals.location=centres"])
    detector = zoo.build(recipe.model, found.classes)
    assert load_recipe(RECIPE).model.proposals.location == "centres"
    detector.load_state_dict(mmdet.convert(state, detector, found.table, found.joins))
    losses = detector.train()(golden.batch_b(system.targets(trained)), golden.in_order)
    fixed = {**trained, "loss_anchor_loc": trained["loss_anchor_loc_fixed"]}
    less = trained["loss_anchor_loc"].sum() - fixed["loss_anchor_loc"].sum()
    fixed["loss_total"] = trained["loss_total"] - less
    two_stage.check_losses(losses, fixed, "", LOSSES)


def test_every_key_of_the_large_one_is_used():
    detector, found = system.build(system.weights("ga-rpn", "keys"))
    assert "model.backbone.name=resnet50" in found.overrides
    assert found.classes == 9
    assert len(detector.state_dict()) == len(system.weights("ga-rpn", "keys"))
