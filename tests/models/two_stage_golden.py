"""Golden values that all two-stage detectors have: proposals, RoI features, head, detections."""

from __future__ import annotations

from dataclasses import dataclass

import model_golden as golden
import numpy as np
import pytest
import system_golden as system
import torch
from torch import Tensor

from sodkit.data.batches import Batch, Target
from sodkit.models.parts import matchers
from sodkit.models.parts.roi_head import Sampled
from sodkit.models.parts.selection import Proposals
from sodkit.models.rcnn import Rcnn
from sodkit.settings import Keep

Golden = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Run:
    """What a detector makes of the golden image: the pyramid and the RPN's output."""

    detector: Rcnn
    stages: list[Tensor]
    pyramid: list[Tensor]
    output: object


@torch.no_grad()
def run(detector: Rcnn) -> Run:
    batch = golden.batch_a()
    stages = detector.backbone(batch.images)
    pyramid = detector.fpn(stages)
    return Run(detector, stages, pyramid, detector.proposer(pyramid, batch))


def check_features(one: Run, want: Golden) -> None:
    for letter, maps in (("C", one.stages), ("P", one.pyramid)):
        for number, feature in enumerate(maps, 2):
            system.check_map(f"{letter}{number}", feature, want, 500)


def check_priors(
    level: int, priors: Tensor, boxes: Tensor, want: Golden, atol: float = 2e-4
) -> None:
    """Compare the priors (N, 4) of a level and what they decode to, clipped."""
    rows = np.linspace(0, len(priors) - 1, len(want[f"prior{level}"])).astype(int)
    assert len(priors) == want[f"prior{level}_n"]
    np.testing.assert_allclose(priors[rows], want[f"prior{level}"], atol=atol, rtol=0)
    np.testing.assert_allclose(boxes[rows], want[f"dec{level}"], atol=1e-2)


@torch.no_grad()
def check_proposals(one: Run, want: Golden, name: str = "proposals") -> Proposals:
    """Compare the proposals of the golden image, in order, and return them in their order."""
    (found,) = one.detector.proposer.select(one.output, golden.batch_a())
    return compare_proposals(found, want, name)


def compare_proposals(found: Proposals, want: Golden, name: str) -> Proposals:
    """Compare proposals that are given, as ``check_proposals``."""
    assert len(found.scores) == want[f"{name}_n"]
    found = _in_their_order(found, torch.as_tensor(want[name]))
    np.testing.assert_allclose(found.boxes[:300], want[name][:, :4], atol=1e-2)
    np.testing.assert_allclose(found.scores[:300], want[name][:, 4], atol=1e-5)
    if f"{name}_sums" in want:
        sums = [found.boxes.double().sum(), found.scores.double().sum()]
        np.testing.assert_allclose(sums, want[f"{name}_sums"], rtol=1e-5)
    return found


def _in_their_order(found: Proposals, theirs: Tensor) -> Proposals:
    """Exchange neighbours whose scores are equal to 1e-6: rounding decides which is first."""
    rows = torch.arange(len(found.scores))
    for row in range(len(theirs) - 1):
        pair = [row, row + 1]
        near = (found.scores[rows[pair]] - found.scores[rows[pair]].mean()).abs().max() < 1e-6
        if near and (found.boxes[rows[row]] - theirs[row, :4]).abs().max() > 1e-2:
            rows[pair] = rows[pair].flip(0)
    return Proposals(found.boxes[rows], found.scores[rows])


@torch.no_grad()
def check_head(one: Run, found: Proposals, want: Golden, score: float) -> None:
    """Compare RoI features, levels, classes and boxes of all proposals."""
    roi, image = one.detector.roi, torch.zeros(len(found.boxes), dtype=torch.int64)
    side = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(1).sqrt()
    level = torch.log2(side / 56 + 1e-6).floor().clamp(0, 3)
    np.testing.assert_array_equal(level, want["roi_level"])
    features = roi.pool(one.pyramid, found.boxes, image)
    _check_features(features, found.scores, want)
    output = roi(features)
    golden.close(output.logits[:150], want["roi_cls"])
    golden.close(output.deltas.flatten(1)[:60], want["roi_reg"])
    for rows, stats in ((output.logits, "roi_cls_stats"), (output.deltas, "roi_reg_stats")):
        have = [rows.double().mean(), rows.double().std(correction=0)]
        np.testing.assert_allclose(have, want[stats][:2], rtol=1e-4, atol=1e-5)
    scores = output.logits.softmax(1)
    np.testing.assert_allclose(scores[:150], want["pre_scores"], atol=1e-4)
    boxes = roi.regression.decode(found.boxes[:, None], output.deltas).clamp(0, 256)
    np.testing.assert_allclose(boxes.flatten(1)[:60], want["pre_boxes"], atol=1e-2)
    assert (scores[:, :-1] > score).sum() == want["pre_n"]


def _check_features(features: Tensor, scores: Tensor, want: Golden) -> None:
    """Compare RoI features (N, C, S, S), but of RoIs whose place rounding decides."""
    assert list(features.shape) == want["roi_feats_shape"].tolist()
    mean, std = want["roi_feats_stats"][:2]
    np.testing.assert_allclose(features.double().mean(), mean, atol=1e-4 * std)
    sample = np.linspace(0, features.numel() - 1, 1000).astype(np.int64)
    gap = torch.full((len(scores) + 1,), torch.inf)
    gap[1:-1] = -scores.diff()
    clear = ((gap[:-1] > 1e-6) & (gap[1:] > 1e-6)).numpy()[sample // features[0].numel()]
    assert clear.mean() > 0.9
    golden.close(features.flatten()[sample[clear]], want["roi_feats"][clear])


def check_detections(detector: Rcnn, keep: Keep, want: Golden) -> None:
    """Compare the detections with the recipe's limit, in order, and all that the NMS leaves."""
    (found,) = detector.detect(golden.batch_a(), keep)
    np.testing.assert_allclose(found.boxes * golden.SCALE, want["det_boxes"], atol=1e-2)
    np.testing.assert_allclose(found.scores, want["det_scores"], atol=1e-5)
    np.testing.assert_array_equal(found.labels, want["det_labels"])
    (every,) = detector.detect(golden.batch_a(), keep.model_copy(update={"max_per_patch": 10**6}))
    assert len(every.scores) == want["detall_n"]
    np.testing.assert_array_equal(np.bincount(every.labels, minlength=9), want["detall_per_class"])
    sums = [every.scores.double().sum(), every.boxes.double().sum() * golden.SCALE]
    np.testing.assert_allclose(sums, want["detall_sums"], rtol=1e-5)
    columns = [every.boxes * golden.SCALE, every.scores[:, None], every.labels[:, None]]
    have = torch.cat(columns, 1)[:310].numpy()
    gap = np.abs(want["detall_top"][:, None] - have[None]).max(2).min(1)
    assert gap.max() < 1e-2


def check_assignment(gt: Tensor, want: np.ndarray) -> None:
    """Compare matches (N,) with theirs: -1 ignored, 0 negative, k + 1 object k."""
    theirs = torch.where(gt >= 0, gt + 1, torch.where(gt == -1, 0, -1))
    np.testing.assert_array_equal(theirs, want)


def check_head_samples(
    detector: Rcnn, rois: Sampled, proposals: list[Proposals], batch: Batch, want: Golden
) -> None:
    """Compare how proposals are matched, and which of them the head is trained on."""
    rule = detector.roi.config.matching
    for image, (target, proposal) in enumerate(zip(batch.targets, proposals, strict=True)):
        gt = matchers.match_iou(
            proposal.boxes, target.boxes, target.ignore_boxes,
            positive=rule.positive, negative=rule.negative,
        ).gt  # fmt: skip
        check_assignment(gt, want[f"assign_rcnn_img{image}"])
        mine, positive = rois.image == image, rois.gt >= 0
        everything = torch.cat([target.boxes, proposal.boxes])
        for name, rows in (("pos", mine & positive), ("neg", mine & ~positive)):
            theirs = everything[want[f"sample_rcnn_img{image}_{name}"]]
            torch.testing.assert_close(rois.boxes[rows], theirs, rtol=0, atol=0)
        boxes = want[f"sample_rcnn_img{image}_posbox"]
        np.testing.assert_allclose(rois.boxes[mine & positive], boxes, atol=1e-2)


THEIRS = {
    "loss_rpn_cls": "loss_rpn_cls",
    "loss_rpn_reg": "loss_rpn_bbox",
    "loss_cls": "loss_cls",
    "loss_reg": "loss_bbox",
}
"""Names of the losses: ours, and theirs."""


def check_losses(
    losses: dict[str, Tensor], want: Golden, prefix: str, theirs: dict[str, str] = THEIRS
) -> None:
    """Compare every loss, and that there is no other."""
    assert set(losses) == set(theirs)
    for name, value in losses.items():
        wanted = want[prefix + theirs[name]].sum()
        np.testing.assert_allclose(value.item(), wanted, rtol=1e-5, atol=1e-7, err_msg=name)
    total = sum(value.item() for value in losses.values())
    assert total == pytest.approx(want[f"{prefix}loss_total"].sum(), rel=1e-5)


GIVEN = {"": (0, 1), "nogt1_": (0, None), "nogt2_": (None, None)}
"""Which image has its objects, by the prefix of the arrays."""


def given(prefix: str, want: Golden) -> tuple[Target, ...]:
    """Return the targets of the two images."""
    whole = system.targets(want)
    return tuple(system.NONE if n is None else whole[n] for n in GIVEN[prefix])
