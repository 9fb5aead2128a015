"""DODet's coders: equal to its authors' (run alone, 120 rows), continuous, free of turns."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from test_rotated_coders import assert_same_rectangles

from sodkit.models.parts import area_coders, rotated_coders

GOLDEN = Path(__file__).parents[2] / "golden" / "systems" / "dodet" / "coders.npz"
FIRST = (1.0, 1.0, 1.0, 1.0, 1.0)
HEAD = (0.1, 0.1, 0.2, 0.2, 0.2)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]).double() for name in file.files}


def clockwise(rows):
    """Return boxes or deltas (N, 5) with the angle of the other sense: theirs is anticlockwise."""
    return rows * torch.tensor([1, 1, 1, 1, -1.0])


def test_first_stage_targets(golden):
    gt = rotated_coders.canonical(clockwise(golden["gt"]))
    found = area_coders.encode_upright(golden["anchors"], gt, FIRST)
    torch.testing.assert_close(found, clockwise(golden["opn_delta"]), atol=2e-6, rtol=2e-6)


def test_second_stage_targets(golden):
    gt, rois = (rotated_coders.canonical(clockwise(golden[n])) for n in ("gt", "proposals"))
    found = area_coders.encode_rotated(rois, gt, HEAD)
    torch.testing.assert_close(found, clockwise(golden["ldh_delta"]), atol=1e-4, rtol=2e-6)


def test_decoding(golden):
    rois = rotated_coders.canonical(clockwise(golden["proposals"]))
    first = area_coders.decode_upright(golden["anchors"], clockwise(golden["opn_in"]), FIRST)
    second = area_coders.decode_rotated(rois, clockwise(golden["ldh_in"]), HEAD)
    assert_same_rectangles(first, clockwise(golden["opn_out"]))
    assert_same_rectangles(second, clockwise(golden["ldh_out"]))


def test_what_is_encoded_comes_back(golden):
    gt, rois = (rotated_coders.canonical(clockwise(golden[n])) for n in ("gt", "proposals"))
    anchors = golden["anchors"]
    first = area_coders.encode_upright(anchors, gt, FIRST)
    assert_same_rectangles(area_coders.decode_upright(anchors, first, FIRST), gt)
    second = area_coders.encode_rotated(rois, gt, HEAD)
    assert_same_rectangles(area_coders.decode_rotated(rois, second, HEAD), gt)


def test_ratio_leaves_the_area_and_area_the_ratio():
    roi = torch.tensor([[5.0, 4.0, 10.0, 8.0, 0.0]])
    ratio, area = torch.tensor([[0, 0, 0.3, 0, 0.0]]), torch.tensor([[0, 0, 0, 0.4, 0.0]])
    w, h = area_coders.decode_rotated(roi, ratio, FIRST)[0, 2:4]
    torch.testing.assert_close(w * h, torch.tensor(80.0))
    torch.testing.assert_close(w / h, torch.tensor(1.25 * math.exp(0.3)))
    w, h = area_coders.decode_rotated(roi, area, FIRST)[0, 2:4]
    torch.testing.assert_close(w / h, torch.tensor(1.25))
    torch.testing.assert_close(w * h, torch.tensor(80 * math.exp(0.4)))


def test_ratio_and_area_are_limited():
    """As in the release: each of them, not the sides."""
    roi = torch.tensor([[5.0, 4.0, 10.0, 8.0, 0.0]])
    found = area_coders.decode_rotated(roi, torch.tensor([[0, 0, 100.0, 100.0, 0]]), FIRST)
    torch.testing.assert_close(found[0, 2:4], torch.tensor([625.0, 8.0]))


@pytest.mark.parametrize("kind", ["upright", "rotated"])
def test_turning_a_box_makes_no_jump_but_where_the_sides_swap(kind):
    steps = 3600
    angle = torch.arange(steps, dtype=torch.float64) * (2 * math.pi / steps) + 1e-4
    boxes = rotated_coders.canonical(
        torch.stack([*(torch.full_like(angle, v) for v in (50.0, 60.0, 24.0, 9.0)), angle], 1)
    )
    if kind == "upright":
        reference, encode = torch.tensor([40.0, 45.0, 62.0, 70.0]).double(), "encode_upright"
        turned = 0.0
    else:
        reference, encode = torch.tensor([48.0, 61.0, 20.0, 11.0, 0.7]).double(), "encode_rotated"
        turned = 0.7
    targets = getattr(area_coders, encode)(reference.expand(steps, -1), boxes, HEAD)
    guess = torch.tensor([0.3, -0.2, 0.1, 0.4, 0.2]).double().repeat(steps, 1).requires_grad_()
    loss = torch.nn.functional.smooth_l1_loss(guess, targets, reduction="none").sum(1)
    (gradient,) = torch.autograd.grad(loss.sum(), guess)
    jump = (loss - loss.roll(1)).abs().detach()
    turn = (gradient - gradient.roll(1, 0)).abs().amax(1)
    quarter = (angle - turned - math.pi / 4) % (math.pi / 2)
    swap = quarter < 2 * math.pi / steps * 1.01
    assert int(swap.sum()) in (4, 5)
    assert jump[~swap].max() < 0.05
    assert turn[~swap].max() < 0.02
    assert jump[swap].max() > 0.1
    # the area is the same on both sides of the swap
    area = targets[:, 3]
    assert (area - area.roll(1)).abs().max() < 1e-9


@pytest.mark.parametrize("move", ["mirrored", "turned"])
def test_mirrored_and_turned_boxes_have_mirrored_and_equal_deltas(golden, move):
    gt, rois = (clockwise(golden[n])[4:] for n in ("gt", "proposals"))
    quarter = torch.tensor([0, 0, 0, 0, math.pi / 2], dtype=torch.float64)

    def moved(boxes):
        x, y, w, h, angle = boxes.unbind(1)
        if move == "mirrored":
            return torch.stack([100 - x, y, w, h, -angle], 1)
        return torch.stack([100 - y, x, w, h, angle], 1) + quarter

    before = area_coders.encode_rotated(rois, gt, HEAD)
    after = area_coders.encode_rotated(moved(rois), moved(gt), HEAD)
    sign = torch.tensor([-1, 1, 1, 1, -1.0]) if move == "mirrored" else torch.ones(5)
    torch.testing.assert_close(after, before * sign, atol=1e-9, rtol=0)
