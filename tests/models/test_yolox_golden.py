"""YOLOX against mmdetection's: same weights, same numbers."""

from dataclasses import replace

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch

from sodkit.models import yolox
from sodkit.models.kernels.grouped_nms import nms_each
from sodkit.models.parts import simota
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.simota import Cells, Predicted
from sodkit.settings import Keep
from sodkit.settings.yolox import SimOta


@pytest.fixture(scope="module")
def detector():
    return system.build(system.weights("yolox"))[0].eval()


@pytest.fixture(scope="module")
def want():
    return system.load("yolox", "eval")


@pytest.fixture(scope="module")
def trained():
    return system.load("yolox", "train")


def reversed_colours(batch):
    """The original's channels are blue, green, red; ours red, green, blue."""
    return replace(batch, images=batch.images.flip(1))


def image():
    return reversed_colours(golden.batch_a())


def images(*targets):
    return reversed_colours(golden.batch_b(targets))


def test_features_and_outputs(detector, want):
    with torch.no_grad():
        system.check_sample("stem", detector.backbone.stem(image().images), want)
        stages = detector.backbone(image().images)
        levels = detector.neck(stages)
        output = detector.head(levels)
    for number, (stage, level) in enumerate(zip(stages, levels, strict=True), 3):
        system.check_sample(f"c{number}", stage, want)
        system.check_sample(f"p{number}", level, want)
    sides = (32, 16, 8)
    for name, rows in (("cls", output.logits), ("reg", output.deltas), ("obj", output.objectness)):
        for level, part in enumerate(rows.split([side**2 for side in sides], 1)):
            map_ = system.as_map(part.flatten()[None], np.array((sides[level], sides[level])))
            system.check_sample(f"{name}{level}", map_, want)


def test_boxes_and_scores(detector, want):
    (found,) = detector.candidates(image(), Keep(score=0.01))
    np.testing.assert_allclose(found.boxes[::4].detach(), want["decoded_boxes"], atol=1e-2)
    np.testing.assert_allclose(found.scores[::2].detach(), want["scores"], atol=1e-4)
    np.testing.assert_array_equal(found.groups[::2], want["score_labels"])
    assert (found.scores > 0.01).sum() == want["n_above_thr"]


def test_detections(detector, want):
    (found,) = detector.candidates(image(), Keep(score=0.01))
    found = replace(found, usable=found.scores > 0.01)
    (rows,) = nms_each([found], 0.65, 1000)
    boxes, scores = found.boxes[rows].detach(), found.scores[rows].detach()
    assert len(rows) == want["det_count"] == want["detr_count"]
    np.testing.assert_allclose(boxes, want["det_boxes"][:, :4], atol=1e-2)
    np.testing.assert_allclose(scores, want["det_boxes"][:, 4], atol=1e-4)
    np.testing.assert_array_equal(found.groups[rows], want["det_labels"])


def test_detections_are_clipped_after_they_suppressed_each_other(detector, want):
    (found,) = detector.detect(image(), Keep(score=0.01, nms=0.65, max_per_patch=1000))
    boxes = want["detr_boxes"][:, :4].clip(0, 256 / golden.SCALE)
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
    assert inside.sum() == len(boxes) - 1  # one lies beyond the image
    np.testing.assert_allclose(found.boxes, boxes[inside], atol=1e-2)
    np.testing.assert_allclose(found.scores, want["detr_boxes"][inside, 4], atol=1e-4)
    np.testing.assert_array_equal(found.labels, want["detr_labels"][inside])


def test_assignment_of_crowded_objects():
    given = system.load("yolox", "simota")
    corner, stride = (torch.tensor(part) for part in np.split(given["priors"][:, :3], [2], 1))
    cells = Cells(corner + stride / 2, stride[:, 0])
    predicted = Predicted(
        *(torch.tensor(given[k]) for k in ("decoded", "cls_logits", "obj_logits"))
    )
    target = golden.target(given["gt"].tolist(), given["labels"].tolist())
    config = SimOta()
    assert simota.may_learn(cells, target.boxes, config.radius).sum() == given["n_candidates"]
    none = torch.zeros(len(corner), dtype=torch.bool)
    (match,) = simota.match_each(cells, [predicted], [target], [none], config)
    positive = (match >= 0).nonzero()[:, 0]
    np.testing.assert_array_equal(positive, given["pos_idx"])
    np.testing.assert_array_equal(match[positive], given["pos_gt"])
    assert (match[match < 0] == NEGATIVE).all()
    # an object alone gets as many as it wants
    for number, count in enumerate(given["k"]):
        alone = golden.target(given["gt"][number : number + 1].tolist(), [given["labels"][number]])
        (match,) = simota.match_each(cells, [predicted], [alone], [none], config)
        assert (match >= 0).sum() == count


def test_assignment(trained):
    detector, _ = system.build(system.weights("yolox", use="train"))
    batch = images(*golden.targets(trained))
    with torch.no_grad():
        output = detector.train().see(batch.images)
    grid = yolox.cells(batch.padded)
    boxes = yolox.decode(grid, output.deltas)
    for number, match in enumerate(detector.match(batch, grid, output, boxes)):
        positive = (match >= 0).nonzero()[:, 0]
        np.testing.assert_array_equal(positive, trained[f"pos_idx_img{number}"])
        np.testing.assert_array_equal(match[positive], trained[f"pos_gt_img{number}"])


@pytest.mark.parametrize("prefix", ["", "l1/", "empty1/", "empty2/"])
def test_losses_and_gradients(trained, prefix):
    first, second = golden.targets(trained)
    given = {"empty1/": (first, system.NONE), "empty2/": (system.NONE,) * 2}
    batch = replace(images(*given.get(prefix, (first, second))), plain=prefix != "")
    detector, found = system.build(system.weights("yolox", use="train"))
    losses = detector.train()(batch, golden.in_order)
    if not prefix:
        norm = detector.backbone.stem.bn
        golden.close(norm.running_mean, trained["after_step_stem_running_mean"])
        golden.close(norm.running_var, trained["after_step_stem_running_var"])
    check_losses(losses, trained, prefix, 1e-4)
    losses = detector.double()(replace(batch, images=batch.images.double()), golden.in_order)
    check_losses(losses, trained, prefix, 1e-6)
    if f"{prefix}grad_names" in trained:
        sum(losses.values()).backward()
        system.check_gradients(detector, trained, found, prefix, "grad_norm", rtol=1e-4)


def check_losses(losses, trained, prefix, rtol):
    names = {"cls": "cls", "objectness": "obj", "reg": "bbox", "l1": "l1"}
    assert list(losses) == [f"loss_{name}" for name in names]
    for ours, theirs in names.items():
        value = trained.get(f"{prefix}loss/loss_{theirs}", 0)
        have = losses[f"loss_{ours}"].item()
        np.testing.assert_allclose(have, value, rtol=rtol, atol=1e-7, err_msg=ours)
    total = sum(losses.values()).item()
    np.testing.assert_allclose(total, trained[f"{prefix}loss/total"], rtol=rtol)


def test_every_key_of_the_large_one_is_used():
    state = system.weights("yolox", "keys")
    detector, found = system.build(state)
    assert found.recipe == "yolox-s-soda-d"
    assert found.overrides == ("model.depth=0.33", "model.width=0.5", "model.convs=2")
    assert found.classes == 9
    assert len(detector.state_dict()) == len(state)
    assert sum(p.numel() for p in detector.parameters()) == 8_940_778
