"""DHRec's representation: equal to its authors' (run alone, 120 objects), continuous, whole."""

import math
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch

from sodkit.models.parts import coders, double_rectangles, rotated_coders

GOLDEN = Path(__file__).parents[2] / "golden" / "systems" / "dhrec" / "coders.npz"
PLAIN = (1.0, 1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]).double() for name in file.files}


def polygons(golden, name="polygons"):
    return golden[name].reshape(-1, 4, 2)


def deltas(anchors, corners):
    pair = double_rectangles.rectangles(corners)
    return torch.cat([coders.encode(anchors, one, PLAIN) for one in pair], 1)


def decoded(anchors, numbers):
    pair = (coders.decode(anchors, numbers[:, part], PLAIN) for part in (slice(4), slice(4, 8)))
    return tuple(pair)


def test_deltas(golden):
    found = deltas(golden["anchors"], polygons(golden))
    torch.testing.assert_close(found, golden["delta"], atol=2e-6, rtol=2e-6)


def test_factors(golden):
    found = double_rectangles.factors(polygons(golden))
    torch.testing.assert_close(found[:, 0], golden["obliquity"], atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:, 1:], golden["direction"], atol=1e-4, rtol=0)


def slow_factors(corners):
    """Return the factors of one object (4, 2) by shapely."""
    thing = shapely.Polygon(corners)
    x1, x2, x3, x4 = np.sort(corners[:, 0])
    y1, y2, y3, y4 = np.sort(corners[:, 1])
    ease = 0.05 * thing.area

    def more(*triangles):
        first, second = (thing.intersection(shapely.Polygon(t)).area for t in triangles)
        return (first + ease) / (first + second + 2 * ease)

    top = more([(x1, y2), (x2, y1), (x4, y2)], [(x1, y2), (x3, y1), (x4, y2)])
    left = more([(x2, y1), (x1, y2), (x2, y4)], [(x2, y1), (x1, y3), (x2, y4)])
    return thing.area / ((x4 - x1) * (y4 - y1)), top, left


def turning(steps=720, w=24.0, h=9.0, start=1e-4):
    """Return an object that turns through 360 degrees, and its angles."""
    angle = torch.arange(steps, dtype=torch.float64) * (2 * math.pi / steps) + start
    columns = [torch.full_like(angle, value) for value in (50.0, 60.0, w, h)]
    return torch.stack([*columns, angle], 1), angle


@pytest.mark.parametrize("shape", [(24.0, 9.0), (3.0, 3.0), (40.0, 2.0)])
def test_factors_are_the_definition(shape):
    corners = rotated_coders.corners(turning(90, *shape)[0])
    wanted = [slow_factors(one) for one in corners.numpy()]
    np.testing.assert_allclose(double_rectangles.factors(corners), wanted, atol=1e-6)


def test_what_is_encoded_comes_back(golden):
    """But for rows 0 and 1, which the release makes a diagonal of: upright objects."""
    for corners in (polygons(golden), rotated_coders.corners(turning(start=0.0)[0])):
        factors = double_rectangles.factors(corners)
        quads = double_rectangles.quadrilaterals(*double_rectangles.rectangles(corners), factors)
        apart = (quads[:, :, None] - corners[:, None]).norm(dim=-1)
        assert apart.amin(2).max() < 1e-3
        assert apart.amin(1).max() < 1e-3
    released = shapely.area(shapely.polygons(polygons(golden, "decoded").numpy()))
    assert (released[:2] < 1e-6).all()
    assert (released[2:] > 1).all()


def test_decoding(golden):
    """The corners of arbitrary numbers, as the release orders them."""
    numbers = golden["rand_in"]
    a, b = decoded(golden["anchors"], numbers)
    found = double_rectangles.quadrilaterals(a, b, numbers[:, 8:])
    torch.testing.assert_close(found.float(), polygons(golden, "rand_polygon").float(),
                               atol=1e-3, rtol=1e-5)  # fmt: skip
    three = polygons_of_three(golden)
    for part, one in enumerate((a, b)):
        torch.testing.assert_close(one.float(), three[:, part], atol=1e-3, rtol=1e-5)
    released = torch.cat([three[:, 0, :2], three[:, 1, 2:]], 1)
    torch.testing.assert_close(three[:, 2], released, atol=1e-4, rtol=0)
    # of rectangles that lie as those of an object do, what is around them is the release's box
    proper = (a[:, :2] <= b[:, :2]).all(1) & (a[:, 2:] <= b[:, 2:]).all(1)
    assert proper.sum() >= 1
    mine = double_rectangles.around(a, b).float()
    torch.testing.assert_close(mine[proper], three[proper, 2], atol=1e-3, rtol=1e-5)


def polygons_of_three(golden):
    """Return the release's A, B and enclosing box of each row: (N, 3, 4)."""
    return golden["rand_boxes3"].reshape(-1, 3, 4).float()


def test_turning_an_object_makes_no_jump_at_all():
    """Rectangles, factors, losses and gradients: nothing swaps, anywhere in 360 degrees."""
    boxes, _ = turning(3600)
    corners = rotated_coders.corners(boxes)
    anchors = torch.tensor([[44.0, 52.0, 60.0, 68.0]]).double().expand(len(boxes), -1)
    wanted = torch.cat([deltas(anchors, corners), double_rectangles.factors(corners)], 1)
    assert (wanted - wanted.roll(1, 0)).abs().max() < 0.03
    assert wanted.std(0).min() > 0.05
    guess = torch.linspace(0.1, 0.9, 11).double().repeat(len(boxes), 1).requires_grad_()
    loss = torch.nn.functional.smooth_l1_loss(guess, wanted, beta=1 / 9, reduction="none").sum(1)
    (gradient,) = torch.autograd.grad(loss.sum(), guess)
    assert (loss - loss.roll(1)).abs().max() < 0.05
    assert (gradient - gradient.roll(1, 0)).abs().max() < 0.25


def test_mirrored_and_turned_objects_have_the_other_factors():
    corners = rotated_coders.corners(turning(90)[0])
    fill, top, left = double_rectangles.factors(corners).unbind(1)
    mirrored = double_rectangles.factors(corners * torch.tensor([-1.0, 1.0]).double())
    wanted = torch.stack([fill, 1 - top, 1 - left], 1)
    torch.testing.assert_close(mirrored, wanted, atol=1e-9, rtol=0)
    x, y = corners.unbind(-1)
    turned = double_rectangles.factors(torch.stack([-y, x], -1))
    wanted = torch.stack([fill, 1 - left, 1 - top], 1)
    torch.testing.assert_close(turned, wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("factor", [(0.9, 0.5, 0.5), (0.9, 0.7, 0.6), (0.9, 0.2, 0.4)])
def test_what_fills_its_box_never_becomes_a_diagonal(factor):
    box = torch.tensor([[10.0, 20.0, 30.0, 28.0]])
    quads = double_rectangles.quadrilaterals(box, box, torch.tensor([factor]))
    assert shapely.area(shapely.polygons(quads.numpy())).tolist() == [160.0]


def test_the_less_sure_factor_yields():
    a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[2.0, 1, 12, 11]])
    for top, left, x, y in ((0.9, 0.6, 2.0, 10.0), (0.6, 0.9, 10.0, 1.0)):
        quads = double_rectangles.quadrilaterals(a, b, torch.tensor([[0.8, top, left]]))
        assert quads[0, 0].tolist() == [x, 0.0]
        assert quads[0, 1].tolist() == [0.0, y]
