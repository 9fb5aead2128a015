import numpy as np
import torch

from sodkit.geometry.overlap import rotated_iou
from sodkit.models.parts import matchers
from sodkit.models.parts.rotated_match import match_rotated

RULE = {"positive": 0.5, "negative": 0.4}


def boxes(count, seed):
    rng = np.random.default_rng(seed)
    sides = np.sort(rng.uniform(6, 30, (count, 2)))[:, ::-1]
    centre, angle = rng.uniform(0, 120, (count, 2)), rng.uniform(-1.5, 1.5, (count, 1))
    return np.concatenate([centre, sides, angle], 1)


def test_the_best_rotated_iou_decides():
    objects = boxes(40, 0)
    near = np.tile(objects, (3, 1)) + np.random.default_rng(1).normal(0, 1, (120, 5)) * [
        2,
        2,
        1,
        1,
        0.2,
    ]
    near[:, 2:4] = np.maximum(near[:, 2:4], 1)
    found = match_rotated(
        torch.from_numpy(near).float(), torch.from_numpy(objects).float(), torch.zeros(0, 4), **RULE
    )
    iou = rotated_iou(near, objects)
    np.testing.assert_allclose(found.iou, iou.max(1), atol=1e-4)
    best = iou.max(1)
    clear = (abs(best - 0.5) > 1e-3) & (abs(best - 0.4) > 1e-3)
    wanted = np.where(best >= 0.5, iou.argmax(1), matchers.NEGATIVE)
    wanted[(best >= 0.4) & (best < 0.5)] = matchers.IGNORED
    assert (found.gt.numpy() == wanted)[clear].all()
    assert {matchers.NEGATIVE, matchers.IGNORED} < set(found.gt.tolist())


def test_ignore_boxes_and_nothing_to_match():
    some = torch.tensor([[10.0, 10.0, 8.0, 4.0, 0.3], [60.0, 60.0, 8.0, 4.0, 0.3]])
    found = match_rotated(some, some[:0], torch.tensor([[0.0, 0.0, 20.0, 20.0]]), **RULE)
    assert found.gt.tolist() == [matchers.IGNORED, matchers.NEGATIVE]
    assert len(match_rotated(some[:0], some, torch.zeros(0, 4), **RULE).gt) == 0


def test_in_blocks_or_at_once(monkeypatch):
    near, objects = (torch.from_numpy(boxes(count, 3)).float() for count in (60, 12))
    near[:12] = objects + torch.tensor([0.3, 0.3, 0.3, 0.3, 0.0])
    at_once = match_rotated(near, objects, torch.zeros(0, 4), **RULE)
    assert at_once.gt[:12].tolist() == list(range(12))
    monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", 30)
    parts = match_rotated(near, objects, torch.zeros(0, 4), **RULE)
    assert torch.equal(parts.gt, at_once.gt)
    assert torch.equal(parts.iou, at_once.iou)
