import math

import pytest
import torch

from sodkit.models.parts import heatmap
from sodkit.models.parts.box_iou import every_iou


def moved(box, by):
    return (torch.tensor(box) + torch.tensor(by))[None].float()


@pytest.mark.parametrize("overlap", [0.3, 0.7])
def test_corners_moved_by_the_radius_keep_the_overlap(overlap):
    rng = torch.Generator().manual_seed(0)
    sides = 2 + 90 * torch.rand(200, 2, generator=rng)
    reach = heatmap.radius(sides, overlap)
    assert reach.max() > 5
    for (width, height), r in zip(sides.tolist(), reach.tolist(), strict=True):
        box = [0.0, 0.0, width, height]

        def least(r, box=box):
            ways = ((-r, -r, r, r), (r, r, -r, -r), (r, r, r, r), (-r, r, -r, r))
            return min(every_iou(moved(box, by), moved(box, 0)).item() for by in ways)

        assert least(r) >= overlap - 1e-5
        if 2 * (r + 1) < min(width, height):
            assert least(r + 1) < overlap


def test_the_radius_of_squares():
    # the least of the three is the inward move: (1 - sqrt(overlap)) / 2 of the side
    sides = torch.tensor([[4.4, 4.4], [4.5, 4.5], [8.8, 8.8], [8.9, 8.9]])
    assert heatmap.radius(sides, 0.3).tolist() == [0, 1, 1, 2]


def by_hand(shape, channel, cell, reach):
    heat = torch.zeros(shape)
    for c, (x, y), r in zip(channel.tolist(), cell.tolist(), reach.tolist(), strict=True):
        sigma = (2 * r + 1) / 6
        for row in range(max(0, y - r), min(shape[1], y + r + 1)):
            for column in range(max(0, x - r), min(shape[2], x + r + 1)):
                value = math.exp(-((row - y) ** 2 + (column - x) ** 2) / (2 * sigma**2))
                heat[c, row, column] = max(heat[c, row, column].item(), value)
    return heat


@pytest.mark.parametrize("cells", [1, 2**20])
def test_gaussians_are_those_drawn_one_by_one(cells, monkeypatch):
    monkeypatch.setattr("sodkit.models.kernels.blocks.CELLS", cells)  # block by block, or at once
    rng = torch.Generator().manual_seed(0)
    channel = torch.randint(0, 4, (30,), generator=rng)
    cell = torch.stack([torch.randint(0, n, (30,), generator=rng) for n in (20, 13)], 1)
    reach = torch.randint(0, 5, (30,), generator=rng)
    found = heatmap.draw((4, 13, 20), channel, cell, reach)
    torch.testing.assert_close(found, by_hand((4, 13, 20), channel, cell, reach))
    assert (found[channel, cell[:, 1], cell[:, 0]] == 1).all()


def test_no_objects_give_an_empty_map():
    none = torch.zeros(0, dtype=torch.int64)
    found = heatmap.draw((2, 3, 4), none, none.reshape(0, 2), none)
    assert torch.equal(found, torch.zeros(2, 3, 4))


def test_the_loss_by_hand():
    logits = torch.tensor([0.3, -1.0, 2.0, 0.5]).reshape(1, 1, 2, 2)
    heat = torch.tensor([1.0, 0.0, 0.25, 1.0]).reshape(1, 1, 2, 2)
    left_out = torch.tensor([False, False, False, True]).reshape(1, 2, 2)
    p = torch.sigmoid(logits).flatten()
    wanted = -((1 - p[0]) ** 2) * p[0].log()
    wanted -= p[1] ** 2 * (1 - p[1]).log() + 0.75**4 * p[2] ** 2 * (1 - p[2]).log()
    torch.testing.assert_close(heatmap.focal(logits, heat, left_out), wanted)


def test_sure_predictions_lose_nothing_and_wrong_ones_stay_finite():
    heat = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2)
    free = torch.zeros(1, 1, 2, dtype=torch.bool)
    sure = torch.tensor([200.0, -200.0]).reshape(1, 1, 1, 2)
    assert heatmap.focal(sure, heat, free) == 0
    wrong = (-sure).requires_grad_()
    loss = heatmap.focal(wrong, heat, free)
    assert loss.item() == pytest.approx(400)
    assert torch.isfinite(torch.autograd.grad(loss, wrong)[0]).all()


def test_peaks_are_the_greatest_of_their_neighbours():
    logits = torch.randn(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    kept = heatmap.peaks(logits).isfinite()
    for b, c, y, x in torch.cartesian_prod(*map(torch.arange, logits.shape)).tolist():
        around = logits[b, c, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        assert kept[b, c, y, x] == (logits[b, c, y, x] == around.max())
