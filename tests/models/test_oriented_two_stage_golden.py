"""Rotated Faster R-CNN, Oriented R-CNN, Gliding Vertex against mmrotate's: the same numbers.

The weights go through the importer, so the settings are mmrotate's own, its defects included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import model_golden as golden
import numpy as np
import oriented_golden as oriented
import pytest
import system_golden as system
import torch
from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.models.importers.mmdet import Recognised, rename
from sodkit.models.parts import coders, matchers, rotated_coders, sampling
from sodkit.models.rcnn import Rcnn
from sodkit.settings import Keep

KEEP = Keep(score=0.05, nms=0.1, max_per_patch=2000)
REGRESSED = {"rotated-faster-rcnn": 5, "oriented-rcnn": 5, "gliding-vertex": 4}
RECIPES = {name: f"{name}-r50-soda-a" for name in REGRESSED}


@dataclass(frozen=True)
class Case:
    name: str
    detector: Rcnn
    found: Recognised

    @property
    def columns(self) -> int:
        """Numbers of fc_reg: of Gliding Vertex fix and ratio follow."""
        return REGRESSED[self.name]

    def load(self, part: str) -> dict[str, np.ndarray]:
        return system.load(self.name, part)


@pytest.fixture(scope="module", params=REGRESSED)
def case(request) -> Case:
    return Case(request.param, *system.build(system.weights(request.param)))


def close(actual: Tensor, want: np.ndarray, atol: float) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), want, rtol=0, atol=atol)


# One image, nothing trained.


@pytest.fixture(scope="module")
def seen(case):
    """Return the golden values, and the network's maps and proposals."""
    detector = case.detector.eval()
    batch = golden.batch_a()
    with torch.no_grad():
        stages = detector.backbone(batch.images)
        pyramid = detector.fpn(list(stages))
        scored = detector.proposer(pyramid, batch)
        (proposals,) = detector.proposer.select(scored, batch)
    return case.load("eval"), stages, pyramid, scored, proposals


def test_features_and_rpn(seen):
    want, stages, pyramid, scored, _ = seen
    maps = [(f"c{n}", x) for n, x in enumerate(stages, 2)]
    maps += [(f"p{n}", x) for n, x in enumerate(pyramid, 2)]
    for level in range(5):
        rows = {"cls": scored.logits[level][..., None], "reg": scored.deltas[level]}
        for kind, one in rows.items():
            name = f"rpn_{kind}_l{level}"
            maps.append((name, system.as_map(one, want[f"{name}_shape"])))
    for name, one in maps:
        golden.close(golden.sampled(one, len(want[name])), want[name])
        oriented.check_stats(one, want, name)


def test_proposals(seen):
    want, *_, proposals = seen
    rows = torch.cat([proposals.boxes, proposals.scores[:, None]], 1)
    assert len(rows) == want["proposals_n"]
    oriented.check_rows(rows, want["proposals"])
    oriented.check_stats(rows, want, "proposals_all")


def test_head_on_given_proposals(case, seen):
    want, _, pyramid, *_ = seen
    boxes = torch.from_numpy(want["proposals"][:, :-1])
    with torch.no_grad():
        features = case.detector.roi.pool(pyramid, boxes, torch.zeros(len(boxes)).long())
        output = case.detector.roi(features)
    golden.close(golden.sampled(features, 1500), want["r300_feats"])
    oriented.check_stats(features, want, "r300_feats")
    golden.close(output.logits, want["r300_cls"])
    deltas = output.deltas[:, 0]
    golden.close(deltas[:, : case.columns], want["r300_reg"])
    if case.name == "gliding-vertex":
        close(deltas[:, 4:8].sigmoid(), want["r300_fix"], 1e-4)
        close(deltas[:, 8:].sigmoid(), want["r300_ratio"], 1e-4)
    close(decoded(case, boxes, output.deltas), want["r300_boxes"], 1e-3)


def decoded(case: Case, boxes: Tensor, deltas: Tensor) -> Tensor:
    found = case.detector.roi.regression.decode(boxes[:, None], deltas, (256, 256))[:, 0]
    clamped = case.detector.roi.outside == "clamp"
    return rotated_coders.clamp_centres(found, (256, 256)) if clamped else found


def test_head_on_its_own_proposals(case, seen):
    want, _, pyramid, _, proposals = seen
    count = len(proposals.boxes)
    with torch.no_grad():
        features = case.detector.roi.pool(pyramid, proposals.boxes, torch.zeros(count).long())
        output = case.detector.roi(features)
    oriented.check_stats(features, want, "roi_feats")
    oriented.check_stats(output.logits, want, "roi_cls")
    deltas = output.deltas[:, 0]
    oriented.check_stats(deltas[:, : case.columns], want, "roi_reg")
    if case.name == "gliding-vertex":
        oriented.check_stats(deltas[:, 4:8].sigmoid(), want, "roi_fix")
        oriented.check_stats(deltas[:, 8:].sigmoid(), want, "roi_ratio")
        assert (deltas[:, 8].sigmoid() > rotated_coders.UPRIGHT_SHARE).sum() == want["ratio_above"]
    boxes, scores = decoded(case, proposals.boxes, output.deltas), output.logits.softmax(1)
    assert len(boxes) == want["pre_boxes_n"] == want["pre_scores_n"]
    oriented.check_rows(
        torch.cat([boxes, scores], 1), np.hstack([want["pre_boxes"], want["pre_scores"]])
    )


@pytest.mark.parametrize("kind", ["det", "det_rescaled"])
def test_detections(case, seen, kind):
    want = seen[0]
    scale = 1.0 if kind == "det" else golden.SCALE
    batch = replace(golden.batch_a(), scales=((scale, scale),))
    (found,) = case.detector.detect(batch, KEEP)
    assert len(found.scores) == want[f"{kind}_n"]
    oriented.check_detections(found, want[kind], want[f"{kind}_labels"])
    if kind == "det":
        (some,) = case.detector.detect(batch, KEEP.model_copy(update={"max_per_patch": 600}))
        assert len(some.scores) == 600
        close(some.scores, want["det"][:, 5], 1e-5)


# Two images, trained on.


@pytest.fixture(scope="module")
def trained(case):
    """Return the golden values, the batch, and the proposals of its images."""
    detector, want = case.detector.train(), case.load("train")
    batch = golden.batch_b((oriented.target(want, 0), oriented.target(want, 1)))
    with torch.no_grad():
        pyramid = detector.fpn(detector.backbone(batch.images))
        scored = detector.proposer(pyramid, batch)
        proposals = detector.proposer.select(scored, batch)
    return want, batch, pyramid, scored, proposals


def numbered(gt: Tensor) -> np.ndarray:
    """Return matches as the golden files have them: 0 negative, -1 ignored, object + 1."""
    return torch.where(gt >= 0, gt + 1, torch.where(gt == matchers.IGNORED, -1, 0)).numpy()


def test_rpn_assignment_samples_and_targets(case, trained):
    want, batch, _, scored, _ = trained
    rule, anchors = case.detector.proposer.config.matching, torch.cat(scored.anchors, 1)[0]
    gts = [
        matchers.match_iou(
            anchors, one.boxes, one.ignore_boxes, positive=rule.positive, negative=rule.negative,
            low_quality=rule.low_quality, within=size,
        ).gt for one, size in zip(batch.targets, batch.sizes, strict=True)
    ]  # fmt: skip
    chosen = sampling.sample(gts, rule, golden.in_order)
    for image, (gt, (positives, negatives)) in enumerate(zip(gts, chosen, strict=True)):
        firm = np.setdiff1d(np.arange(len(gt)), want[f"rpn_fragile{image}"])
        theirs = np.maximum(want[f"rpn_assign{image}"], -1)  # -2 leaves the image
        np.testing.assert_array_equal(numbered(gt)[firm], theirs[firm])
        np.testing.assert_array_equal(positives, want[f"rpn_pos{image}"])
        np.testing.assert_array_equal(negatives, want[f"rpn_neg{image}"])
        truth = case.detector.proposer._truth(batch.targets[image])[gt[positives]]
        close(
            case.detector.proposer._encode(anchors[positives], truth),
            want[f"rpn_targets{image}"],
            1e-4,
        )


def test_head_assignment_samples_and_targets(case, trained):
    want, batch, _, _, proposals = trained
    roi = case.detector.roi
    pairs = list(zip(proposals, batch.targets, strict=True))
    gts = [roi._match(one.boxes, target) for one, target in pairs]
    chosen = sampling.sample(gts, roi.config.matching, golden.in_order)
    for image, (one, objects) in enumerate(pairs):
        rows = torch.cat([one.boxes, one.scores[:, None]], 1)
        assert len(rows) == want[f"proposals{image}_n"]
        oriented.check_rows(rows, want[f"proposals{image}"])
        oriented.check_stats(rows, want, f"proposals{image}_all")
        assert len(want[f"roi_fragile{image}"]) == 0
        np.testing.assert_array_equal(numbered(gts[image])[40:], want[f"roi_assign{image}"])
        positives, negatives = chosen[image]
        np.testing.assert_array_equal(positives, want[f"roi_pos{image}"])
        np.testing.assert_array_equal(negatives, want[f"roi_neg{image}"])
        matched = gts[image][positives]
        labels = objects.labels[matched]
        np.testing.assert_array_equal(labels, want[f"roi_pos_labels{image}"])
        boxes = torch.cat([roi.regression.own(objects), one.boxes])[positives]
        close(boxes, want[f"roi_pos_boxes{image}"], 1e-3)
        check_targets(case, want, image, boxes, roi.regression.truth(objects)[matched])


def check_targets(
    case: Case, want: dict[str, np.ndarray], image: int, boxes: Tensor, truth: Tensor
) -> None:
    roi = case.detector.roi
    if case.name == "gliding-vertex":
        around = rotated_coders.enclosing(truth)
        have = coders.encode(boxes, around, roi.config.box.stds)
        glides = rotated_coders.encode_gliding(truth)
        close(glides[:, :4], want[f"roi_fix_targets{image}"], 1e-4)
        close(glides[:, 4:], want[f"roi_ratio_targets{image}"], 1e-4)
    else:
        have = roi.regression.encode(boxes, truth, roi.regression.stds)
    close(have, want[f"roi_targets{image}"], 1e-3)


def test_losses_and_gradients(case, trained):
    want, batch, *_ = trained
    losses = case.detector.train()(batch, golden.in_order)
    check_losses(losses, want, "")
    total = sum(losses.values())
    np.testing.assert_allclose(total.item(), want["loss_total"], rtol=1e-5)
    case.detector.zero_grad()
    total.backward()
    gradients = {n: p.grad for n, p in case.detector.named_parameters() if p.requires_grad}
    used = set()
    for key, norm in zip(want["grad_names"].tolist(), want["grad_norms"], strict=True):
        name, rows = place(case, key)
        used.add(name)
        have = gradients[name][rows].double().norm().item()
        np.testing.assert_allclose(have, norm, rtol=1e-3, atol=1e-7, err_msg=key)
    assert used == set(gradients)


def place(case: Case, key: str) -> tuple[str, slice]:
    """Return our name of a tensor, and its rows in it: Gliding Vertex's three are one here."""
    parts = {"fc_reg": slice(0, 4), "fc_fix": slice(4, 8), "fc_ratio": slice(8, 9)}
    *_, layer, kind = key.split(".")
    if case.name == "gliding-vertex" and layer in parts:
        return f"roi.reg.{kind}", parts[layer]
    return rename(key, case.found.table), slice(None)


def check_losses(losses: dict[str, Tensor], want: dict[str, np.ndarray], prefix: str) -> None:
    theirs = {
        "loss_rpn_cls": ("loss_rpn_cls",),
        "loss_rpn_reg": ("loss_rpn_bbox",),
        "loss_cls": ("loss_cls",),
        "loss_reg": ("loss_bbox", "loss_fix", "loss_ratio"),
    }
    assert list(losses) == list(theirs)
    for key, names in theirs.items():
        total = sum(want[prefix + n].sum() for n in names if prefix + n in want)
        np.testing.assert_allclose(losses[key].item(), total, rtol=1e-5, atol=1e-7, err_msg=key)


def test_share_of_right_classes(case, trained):
    want, batch, pyramid, _, proposals = trained
    with torch.no_grad():
        rois = case.detector.roi.sample(proposals, batch.targets, golden.in_order)
        logits = case.detector.see(pyramid, rois).output.logits
    right = (logits.argmax(1) == rois.labels).double().mean() * 100
    np.testing.assert_allclose(right, want["acc"][0], atol=1e-4)


def test_losses_without_objects(case, trained):
    want, both, *_ = trained
    detector = case.detector.train()
    with torch.no_grad():
        one = replace(both, targets=(both.targets[0], oriented.NOTHING))
        check_losses(detector(one, golden.in_order), want, "empty1_")
        check_losses(detector(second(both), golden.in_order), want, "empty_")


def second(both: Batch) -> Batch:
    """Return the second image alone, without objects."""
    return replace(both.part(range(1, 2)), targets=(oriented.NOTHING,))


@pytest.mark.parametrize("name", REGRESSED)
def test_every_key_of_the_large_one_is_used(name):
    state = system.weights(name, "keys")
    detector, found = system.build(state)
    assert found.recipe == RECIPES[name]
    assert "model.backbone.name=resnet50" in found.overrides
    assert "model.roi.class_agnostic=true" in found.overrides
    assert found.classes == 9
    numbers = sum(t.numel() for t in state.values())
    assert sum(t.numel() for t in detector.state_dict().values()) == numbers
