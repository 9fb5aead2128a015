import pytest
import torch

from sodkit.models.kernels import blocks
from sodkit.models.parts import points
from sodkit.models.parts.nearest_point import match_nearest

STRIDES = (8, 16, 32, 64)
SIZE = (160, 224)
SHAPES = tuple((-(-SIZE[0] // stride), -(-SIZE[1] // stride)) for stride in STRIDES)


def slow(boxes, size=SIZE):
    """Compare every object with every location of its level, one after the other."""
    levels = points.grid(SIZE, STRIDES, offset=0.0)
    starts = [sum(map(len, levels[:number])) for number in range(4)]
    gt = [-1] * sum(map(len, levels))
    nearest = [float("inf")] * len(gt)
    for number, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        side = ((x2 - x1) * (y2 - y1)) ** 0.5
        level = 0
        while level < 3 and side >= 4 * STRIDES[level + 1]:
            level += 1
        found = []
        for row, (x, y) in enumerate(levels[level].tolist()):
            if x < size[1] and y < size[0]:
                dx = (x - (x1 + x2) / 2) / (x2 - x1)
                dy = (y - (y1 + y2) / 2) / (y2 - y1)
                found.append((torch.tensor([dx, dy]).norm().item(), starts[level] + row))
        distance, row = min(found)
        if distance < nearest[row]:
            gt[row], nearest[row] = number, distance
    return torch.tensor(gt)


def drawn(count, seed):
    rng = torch.Generator().manual_seed(seed)
    side = 2 ** (1 + 7.5 * torch.rand(count, 1, generator=rng))
    side = side * (0.6 + torch.rand(count, 2, generator=rng))
    corner = torch.rand(count, 2, generator=rng) * (torch.tensor([224.0, 160.0]) - side).clamp(0)
    return torch.cat([corner, corner + side], 1)


@pytest.mark.parametrize("cells", [2**20, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_does_what_a_loop_does(seed, cells, monkeypatch):
    monkeypatch.setattr(blocks, "CELLS", cells)
    boxes = drawn(150, seed)
    found = match_nearest(boxes, SHAPES, STRIDES, 4.0, SIZE)
    assert torch.equal(found, slow(boxes))
    assert 50 < (found >= 0).sum() < 150  # some were beaten
    starts = torch.tensor([rows * columns for rows, columns in SHAPES]).cumsum(0)
    levels = torch.searchsorted(starts, torch.nonzero(found >= 0)[:, 0], right=True)
    assert set(levels.tolist()) == {0, 1, 2, 3}


def test_locations_beyond_the_image_are_not_used():
    """The nearest location of this object would be the one at 96."""
    boxes = torch.tensor([[88.0, 40, 95, 50]])
    size = (64, 96)
    found = match_nearest(boxes, SHAPES, STRIDES, 4.0, size)
    assert torch.equal(found, slow(boxes, size))
    rows = torch.nonzero(found >= 0)[:, 0]
    assert points.grid(SIZE, STRIDES, offset=0.0)[0][rows].tolist() == [[88.0, 48.0]]


def test_of_equally_near_objects_the_first_has_the_location():
    boxes = torch.tensor([[14.0, 14, 22, 22], [10, 10, 18, 18], [14, 10, 22, 18], [1, 1, 7, 7]])
    found = match_nearest(boxes, SHAPES, STRIDES, 4.0, SIZE)
    assert found[2 * SHAPES[0][1] + 2] == 0  # the location (16, 16)
    # half-way between four locations the first is taken
    assert found[0] == 3
    assert (found >= 0).sum() == 2


@pytest.mark.parametrize(
    ("side", "level"), [(2.0, 0), (63.9, 0), (64.0, 1), (255.0, 2), (600.0, 3)]
)
def test_levels(side, level):
    boxes = torch.tensor([[0.0, 0.0, side, side]])
    found = match_nearest(boxes, SHAPES, STRIDES, 4.0, SIZE)
    counts = [rows * columns for rows, columns in SHAPES]
    assert [(part >= 0).sum().item() for part in found.split(counts)] == [
        int(number == level) for number in range(4)
    ]


def test_without_objects_there_is_no_match():
    found = match_nearest(torch.zeros(0, 4), SHAPES, STRIDES, 4.0, SIZE)
    assert (found == -1).all()
    assert found.dtype == torch.int64
