"""Hulls of points and their overlap with boxes: as shapely's, and as mmcv's operators'."""

import math

import numpy as np
import pytest
import shapely
import torch
from system_golden import load

from sodkit.geometry.rotated import corners_to_obb, obb_to_corners
from sodkit.models.kernels import convex
from sodkit.models.kernels.least_rectangle import least_around_points
from sodkit.models.parts.rotated_coders import canonical
from tests.fake_cuda import CUDA, FakeCuda

ANGLES = np.arange(0, 2 * math.pi, math.pi / 720)


@pytest.fixture(scope="module")
def want():
    return load("oriented-reppoints", "convex_ops")


def some(count, at=12000.0, seed=0):
    """Return sets of nine points and boxes of 3 px and more, far from the origin."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(1, 12, (count, 1, 1))
    points = at + rng.uniform(0, 12, (count, 1, 2)) + spread * rng.normal(size=(count, 9, 2))
    points[::7] = points[::7].round()  # equal coordinates, points on edges
    sides = rng.uniform(3, 20, (count, 2))
    boxes = np.c_[at + rng.uniform(0, 12, (count, 2)), sides, rng.uniform(-1.5, 1.5, count)]
    return torch.tensor(points).float(), torch.tensor(boxes).float()


def shapes(points, boxes):
    hulls = shapely.convex_hull(shapely.multipoints(points.double().numpy()))
    return hulls, shapely.polygons(obb_to_corners(boxes.double().numpy()))


def test_hulls_are_those_of_shapely():
    points, _ = some(300)
    corners = convex.hulls(points)
    hulls = shapely.convex_hull(shapely.multipoints(points.double().numpy()))
    for found, hull in zip(corners.numpy(), hulls, strict=True):
        theirs = {tuple(corner) for corner in np.asarray(hull.exterior.coords)}
        assert {tuple(corner) for corner in found} == theirs
    np.testing.assert_allclose(convex.areas(corners.double()), shapely.area(hulls), rtol=1e-9)


def test_hulls_of_points_on_a_line_and_at_one_place():
    line = torch.stack([torch.arange(9.0) * 2, torch.arange(9.0) + 1], -1)
    upright = torch.stack([torch.full((9,), 3.0), torch.arange(9.0).flip(0)], -1)
    points = torch.stack([line[torch.randperm(9)], upright, torch.full((9, 2), 5.0)])
    corners = convex.hulls(points)
    assert [len(set(map(tuple, one.tolist()))) for one in corners] == [2, 2, 1]
    assert (convex.areas(corners) == 0).all()


def test_overlaps_are_those_of_shapely():
    points, boxes = some(400)
    hulls, polygons = shapes(points, boxes)
    shared = shapely.area(shapely.intersection(hulls, polygons))
    union = shapely.area(shapely.union(hulls, polygons))
    around = shapely.area(shapely.convex_hull(shapely.union(hulls, polygons)))
    assert (shared == 0).sum() > 20
    assert (shared > 1).sum() > 200
    found, own = convex.overlaps(points, boxes)
    np.testing.assert_allclose(found, shared, atol=1e-4)
    np.testing.assert_allclose(own, shapely.area(hulls), atol=1e-4)
    np.testing.assert_allclose(convex.convex_iou(points, boxes), shared / union, atol=1e-6)
    giou = shared / union - (around - union) / around
    np.testing.assert_allclose(convex.convex_giou(points, boxes), giou, atol=1e-6)


def test_overlaps_are_those_of_mmcv(want):
    points, boxes = (torch.tensor(want[name]) for name in ("points", "boxes"))
    points = points.reshape(80, 9, 2).requires_grad_()
    giou = convex.convex_giou(points, boxes)
    np.testing.assert_allclose(giou.detach(), want["convex_giou"], atol=1e-5)
    (grad,) = torch.autograd.grad(giou.sum(), points)
    np.testing.assert_allclose(grad.flatten(1), want["convex_giou_grad"], atol=1e-5)
    pairs = points.detach()[:40].repeat_interleave(40, 0), boxes[:40].repeat(40, 1)
    table = convex.convex_iou(*pairs).reshape(40, 40)
    np.testing.assert_allclose(table, want["convex_iou"], atol=1e-5)


def test_the_gradient_of_one_row_is_not_given_up(want):
    """mmcv replaces the gradient of a set by 1e-6 if one component of it is above 1."""
    points, boxes = (torch.tensor(want[name]) for name in ("points", "boxes"))
    points = points.reshape(80, 9, 2).requires_grad_()
    loss = 0.375 * (1 - convex.convex_giou(points, boxes)).mean()
    np.testing.assert_allclose(loss.item(), want["loss_375"], rtol=1e-6)
    (grad,) = torch.autograd.grad(loss, points)
    gap = np.abs(grad.flatten(1).numpy() - want["loss_375_grad"]).max(1)
    (given_up,) = np.flatnonzero((want["convex_giou_grad"] > 1).any(1))
    assert np.flatnonzero(gap > 1e-6).tolist() == [given_up]
    assert grad[given_up].abs().max() * 80 / 0.375 > 1


def test_the_gradient_is_that_of_finite_differences():
    points, boxes = some(40, at=0.0, seed=3)
    points = points[torch.arange(40) % 7 > 0].double().requires_grad_()
    boxes = boxes[torch.arange(40) % 7 > 0].double()
    assert torch.autograd.gradcheck(lambda x: convex.convex_giou(x, boxes), points, eps=1e-7)


def test_specks_and_points_on_a_line_have_finite_losses_and_gradients():
    points = torch.zeros(4, 9, 2)
    points[1] += 1e-4 * torch.rand(9, 2, generator=torch.Generator().manual_seed(0))
    points[2, :, 0] = torch.arange(9.0)
    points[3] = 40.0
    points.requires_grad_()
    giou = convex.convex_giou(points, torch.tensor([[1.0, 1.0, 8.0, 4.0, 0.3]]).repeat(4, 1))
    giou.sum().backward()
    assert torch.isfinite(giou).all()
    assert torch.isfinite(points.grad).all()
    assert (giou[:2] >= 0).all()
    assert giou[3] < -0.5


def test_the_turn_of_an_object_through_360_degrees_makes_no_jump():
    """The loss is continuous; where sides swap or angles wrap its gradient is, too."""
    points = some(2, at=50.0)[0][1:].repeat(len(ANGLES), 1, 1)
    for w, h in ((20.0, 9.0), (12.0, 12.0)):
        boxes = torch.tensor([[56.0, 56.0, w, h, float(angle)] for angle in ANGLES])
        giou = convex.convex_giou(points, canonical(boxes))
        assert giou.max() - giou.min() > 0.03
        assert (giou - giou.roll(1)).abs().max() < 0.01
    for swap in np.arange(4) * math.pi / 2 + math.pi / 4:
        for at in (swap, swap + math.pi / 4):
            both = [[56.0, 56.0, 12.0, 11.9999, at - 1e-4], [56.0, 56.0, 11.9999, 12.0, at + 1e-4]]
            pair = points[:2].clone().requires_grad_()
            giou = convex.convex_giou(pair, canonical(torch.tensor(both)))
            (grad,) = torch.autograd.grad(giou.sum(), pair)
            assert grad.abs().max() > 1e-2
            torch.testing.assert_close(grad[0], grad[1], rtol=0, atol=1e-4)


def test_rows_are_worked_on_in_blocks(monkeypatch):
    points, boxes = some(50)
    wanted = convex.convex_giou(points, boxes), *convex.overlaps(points, boxes)
    monkeypatch.setattr(convex, "ROWS", 7)
    found = convex.convex_giou(points, boxes), *convex.overlaps(points, boxes)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)
    assert len(convex.convex_giou(points[:0], boxes[:0])) == 0
    assert len(convex.convex_iou(points[:0], boxes[:0])) == 0


def test_a_device_is_not_waited_for():
    points, boxes = some(20)
    wanted = convex.convex_giou(points, boxes)
    with FakeCuda() as gpu:
        points, boxes = points.to(CUDA).requires_grad_(), boxes.to(CUDA)
        gpu.reset()
        giou = convex.convex_giou(points, boxes)
        giou.sum().backward()
        rectangles = least_around_points(points)
        assert rectangles.is_cuda
        assert not gpu.waits
        assert not gpu.copies
        torch.testing.assert_close(giou.cpu(), wanted)


def test_least_rectangles_hold_the_points_and_none_is_smaller():
    points = some(300)[0].double()
    found, wanted = least_around_points(points), corners_to_obb(points.numpy())
    areas = wanted[:, 2] * wanted[:, 3]
    np.testing.assert_allclose(found[:, 2] * found[:, 3], areas, rtol=1e-9)
    inside = convex.in_frame(points, found).abs() - found[:, None, 2:4] / 2
    assert inside.max() < 1e-6
    # often two edges of a hull give equal areas: another may be taken
    assert (np.abs(canonical(found).numpy() - wanted).max(1) < 1e-6).mean() > 0.8


def test_least_rectangles_of_points_without_extent():
    points = torch.tensor([[3.0, 4.0]]).repeat(9, 1)
    line = torch.stack([torch.arange(9.0), 2 * torch.arange(9.0)], -1)
    found = canonical(least_around_points(torch.stack([points, line])))
    np.testing.assert_allclose(found[0, :4], [3, 4, 0, 0])
    np.testing.assert_allclose(found[1], [4, 8, 320**0.5, 0, math.atan(2)], atol=1e-9)


def test_least_rectangles_are_those_of_mmcv(want):
    points = torch.tensor(want["points"]).reshape(80, 9, 2)
    found = canonical(least_around_points(points)).numpy()
    wanted = canonical(torch.tensor(want["min_area_obb_oc"]).double()).numpy()
    np.testing.assert_allclose(found[:, 2:4].prod(1), wanted[:, 2:4].prod(1), rtol=1e-4)
    gap = np.abs(found - wanted)
    gap[:, 4] = np.minimum(gap[:, 4], np.abs(gap[:, 4] - math.pi))
    tied = np.flatnonzero(gap.max(1) > 1e-4)
    assert tied.tolist() == [6, 75]
