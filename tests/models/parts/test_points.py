import torch

from sodkit.models.parts import points


def test_points_are_in_the_middle_of_their_cells_row_by_row():
    first, second = points.grid((20, 17), (8, 16))
    assert first.dtype == torch.float32
    assert first.tolist() == [
        [4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [4, 20], [12, 20], [20, 20],
    ]  # fmt: skip
    assert second.tolist() == [[8, 8], [24, 8], [8, 24], [24, 24]]


def test_points_may_be_at_the_corners_of_their_cells():
    (found,) = points.grid((8, 16), (8,), offset=0.0)
    assert found.tolist() == [[0, 0], [8, 0]]


def test_distances_lead_back_to_the_box():
    at, box = torch.tensor([[10.0, 20.0]]), torch.tensor([[4.0, 15.0, 12.0, 26.0]])
    sides = points.distances(at, box)
    assert sides.tolist() == [[6, 5, 2, 6]]
    assert torch.equal(points.boxes_around(at, sides), box)
    assert points.distances(at, box + 100).tolist() == [[-94, -95, 102, 106]]


def test_centerness():
    sides = torch.tensor([[3.0, 2.0, 3.0, 2.0], [1.0, 2.0, 4.0, 2.0], [1.0, 9.0, 4.0, 1.0]])
    torch.testing.assert_close(points.centerness(sides), torch.tensor([1.0, 0.5, 1 / 6]))
