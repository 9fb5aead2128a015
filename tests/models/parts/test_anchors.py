import model_golden as golden
import pytest
import torch

from sodkit.models.parts import anchors


def test_one_square_anchor_a_location():
    fine, coarse = anchors.grid((9, 16), golden.levels_of(2, 2.0))
    assert fine.shape == (3 * 4, 4)
    assert coarse.shape == (2 * 2, 4)
    assert fine[0].tolist() == [-4, -4, 4, 4]
    assert fine[1].tolist() == [0, -4, 8, 4]
    assert fine[4].tolist() == [-4, 0, 4, 8]
    assert coarse[3].tolist() == [0, 0, 16, 16]


def test_ratios_keep_the_area():
    (level,) = anchors.grid((4, 8), golden.levels_of(1, 2.0, (0.5, 1.0, 2.0)))
    size = level[:, 2:] - level[:, :2]
    assert len(level) == 6
    torch.testing.assert_close(size.prod(1), torch.full((6,), 64.0))
    torch.testing.assert_close(size[:3, 1] / size[:3, 0], torch.tensor([0.5, 1.0, 2.0]))
    centre = (level[3:, :2] + level[3:, 2:]) / 2
    torch.testing.assert_close(centre, torch.tensor([[4.0, 0.0]] * 3))


@pytest.mark.parametrize("size", [(1, 1), (33, 31)])
def test_a_level_has_as_many_cells_as_the_network_makes(size):
    x = torch.zeros(1, 1, *size)
    for level in anchors.grid(size, golden.levels_of(3, 2.0, first=2)):
        x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
        assert len(level) == x.numel()
