import torch
from torch.nn import functional as F

from sodkit.models.parts import tokens

SHAPES = ((25, 30), (13, 15), (7, 8), (4, 4))
SIZES = ((100, 120), (57, 91), (3, 1))


def made(sizes=SIZES, channels=8):
    return tokens.arrange(SHAPES, sizes, (100, 120), channels, torch.zeros(()))


def test_an_image_has_the_cells_of_its_resized_mask():
    have = made()
    for image, (height, width) in enumerate(SIZES):
        mask = torch.zeros(1, 1, 100, 120)
        mask[..., :height, :width] = 1
        resized = [F.interpolate(mask, shape, mode="nearest").flatten() for shape in SHAPES]
        assert torch.equal(have.inside[image], torch.cat(resized) > 0)
        for level, one in enumerate(resized):
            high, wide = (one.reshape(SHAPES[level]).amax(axis).sum() for axis in (1, 0))
            assert have.sides[image, level].tolist() == [wide, high]


def test_the_last_cells_of_an_image_end_where_it_ends():
    have = made(((100, 120), (48, 60)))
    for image, level_sides in enumerate(have.sides):
        parts = have.centre[image].split([rows * columns for rows, columns in SHAPES])
        for (rows, columns), sides, centre in zip(SHAPES, level_sides, parts, strict=True):
            grid = centre.reshape(rows, columns, 2)
            width, height = sides.int().tolist()
            last = grid[height - 1, width - 1] + 0.5 / sides
            torch.testing.assert_close(last, torch.ones(2))
            torch.testing.assert_close(grid[0, 0], 0.5 / sides)


def test_a_code_is_of_the_place_in_the_image_and_not_of_the_level():
    # the middle of the first of 4 cells is that of cells 3 and 4 of 24: between their codes
    coarse = tokens.waves(torch.arange(4.0), torch.tensor([[4.0]]), 8)[0]
    fine = tokens.waves(torch.arange(24.0), torch.tensor([[24.0]]), 8)[0]
    torch.testing.assert_close(coarse[0], (fine[2] + fine[3]) / 2, atol=0.01, rtol=0)
    torch.testing.assert_close(coarse[0, 0], torch.tensor(0.25 * torch.pi).sin())
    torch.testing.assert_close(coarse[0, 1], torch.tensor(0.25 * torch.pi).cos())


def test_codes_of_padding_are_finite_and_those_of_images_differ():
    have = made()
    assert have.code.isfinite().all()
    assert have.centre.isfinite().all()
    rows = have.code[0, have.inside[0]][:750]
    assert len(rows.unique(dim=0)) == 750
    # y before x: along a row of cells the first half is the same
    grid = have.code[0, :750].reshape(25, 30, 8)
    assert (grid[:, :, :4] == grid[:, :1, :4]).all()
    assert (grid[:, :, 4:] == grid[:1, :, 4:]).all()
