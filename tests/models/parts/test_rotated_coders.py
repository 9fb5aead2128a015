import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sodkit.geometry import rotated
from sodkit.geometry.rotated import corners_to_obb, obb_to_corners
from sodkit.models.parts import rotated_coders as coders

GOLDEN = Path(__file__).parents[2] / "golden" / "oriented" / "rotated_coders.npz"
HEAD = (0.1, 0.1, 0.2, 0.2, 0.1)
MIDPOINT = (1.0, 1.0, 1.0, 1.0, 0.5, 0.5)


@pytest.fixture(scope="module")
def golden():
    """The release's coders on 200 boxes; the first ten are edge cases."""
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def vertices(boxes):
    return obb_to_corners(np.asarray(boxes, np.float64))


def assert_same_rectangles(found, wanted, atol=1e-3):
    """Compare as sets of corners: blind to the descriptions of one rectangle, squares too."""
    a, b = vertices(found), vertices(wanted)
    apart = np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)
    assert apart.min(axis=2).max() < atol
    assert apart.min(axis=1).max() < atol
    assert (found[:, 2] >= found[:, 3]).all()
    assert (found[:, 4] >= -math.pi / 2).all()
    assert (found[:, 4] < math.pi / 2).all()


def test_targets_from_upright_rois(golden):
    found = coders.encode_upright(golden["rois"], golden["gt"], HEAD)
    square = (golden["gt"][:, 2] - golden["gt"][:, 3]).abs() < 1e-3
    torch.testing.assert_close(
        found[~square].float(), golden["hbb_delta"][~square], atol=1e-3, rtol=1e-4
    )
    back = coders.decode_upright(golden["rois"], found, HEAD)
    assert_same_rectangles(back, golden["gt"])
    assert_same_rectangles(back, golden["hbb_roundtrip"])


def test_decoding_from_upright_rois(golden):
    found = coders.decode_upright(golden["rois"], golden["hbb_decode_in"], HEAD)
    assert_same_rectangles(found, golden["hbb_decoded"])


def test_targets_from_rotated_rois(golden):
    found = coders.encode_rotated(golden["rproposals"], golden["gt"], HEAD)
    square = (golden["gt"][:, 2] - golden["gt"][:, 3]).abs() < 1e-3
    torch.testing.assert_close(
        found[~square].float(), golden["rbb_delta"][~square], atol=1e-3, rtol=1e-4
    )
    assert_same_rectangles(coders.decode_rotated(golden["rproposals"], found, HEAD), golden["gt"])


def test_decoding_from_rotated_rois(golden):
    found = coders.decode_rotated(golden["rproposals"], golden["rbb_decode_in"], HEAD)
    assert_same_rectangles(found, golden["rbb_decoded"])


def tied(boxes):
    """Whether each box's upper side (row 0) and right side (row 1) are level within .1 px."""
    x, y = np.sort(vertices(boxes), axis=1).transpose(2, 0, 1)
    return torch.from_numpy(np.stack([y[:, 1] - y[:, 0], x[:, 3] - x[:, 2]])) <= 0.1


def test_midpoint_offsets(golden):
    found = coders.encode_midpoint(golden["rois"], golden["gt"], MIDPOINT)
    top, right = tied(golden["gt"])
    wanted = golden["midpoint_delta"]
    same = (found - wanted).abs().amax(1) < 1e-3
    # with one of the two sides level the release may make a sliver: see below
    assert int((~same).sum()) == 1
    assert bool((top != right)[~same].all())
    back = coders.decode_midpoint(golden["rois"], found, MIDPOINT)
    assert_same_rectangles(back, golden["gt"])


def test_one_side_level_within_a_tenth_of_a_pixel(golden):
    """The release takes two corners that are not neighbours: 4.5 px of height become 0.02."""
    found = coders.encode_midpoint(golden["rois"], golden["gt"], MIDPOINT)
    row = (found - golden["midpoint_delta"]).abs().amax(1) > 1e-3
    released = coders.decode_midpoint(golden["rois"], golden["midpoint_delta"], MIDPOINT)
    assert released[row, 3].item() == pytest.approx(0.0195, abs=1e-3)
    assert golden["gt"][row, 3].item() == pytest.approx(4.5242, abs=1e-3)


def test_corners_found_one_by_one_are_the_release(golden):
    found = coders.encode_midpoint(golden["rois"], golden["gt"], MIDPOINT, separately=True)
    torch.testing.assert_close(found.float(), golden["midpoint_delta"], atol=1e-3, rtol=0)


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("tilt", [-0.03, -0.012, -0.004, 0, 0.004, 0.012, 0.03])
def test_nearly_upright_boxes_come_back(tilt, turn):
    gt = torch.tensor([[50.0, 60.0, 15.0, 4.5, tilt - turn * math.pi / 2]]).double()
    gt = coders.canonical(gt)
    roi = torch.tensor([[40.0, 50.0, 62.0, 66.0]]).double()
    back = coders.decode_midpoint(roi, coders.encode_midpoint(roi, gt, MIDPOINT), MIDPOINT)
    # where both sides are level within .1 px the box is taken as upright
    assert_same_rectangles(back, gt, atol=0.1 if bool(tied(gt).all()) else 1e-3)


def test_decoding_midpoint_offsets(golden):
    found = coders.decode_midpoint(golden["rois"], golden["midpoint_decode_in"], MIDPOINT)
    assert_same_rectangles(found, golden["midpoint_decoded"].double())


def test_gliding_vertices(golden):
    found = coders.encode_gliding(golden["gt"])
    torch.testing.assert_close(found[:, 4:], golden["gliding_ratio"], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[:, :4], golden["gliding_delta"], atol=1e-3, rtol=0)
    tilted = torch.cat([found[:, :4], torch.zeros_like(found[:, 4:])], 1)
    quads = coders.decode_gliding(golden["gt_xyxy"], tilted)
    assert_same_rectangles(torch.from_numpy(corners_to_obb(quads.numpy())), golden["gt"])


def test_decoding_gliding_vertices(golden):
    tilted = torch.cat([golden["gliding_delta"], torch.zeros(len(golden["gt"]), 1)], 1)
    quads = coders.decode_gliding(golden["gt_xyxy"], tilted)
    found = torch.from_numpy(corners_to_obb(quads.numpy()))
    assert_same_rectangles(found, golden["gliding_decoded"])


def test_edges_of_rectangles_are_their_sides(golden):
    found = coders.from_edges(golden["gt_poly"].reshape(-1, 4, 2).double())
    assert_same_rectangles(found, golden["gt"])


def test_edges_of_other_quadrilaterals():
    # the second edge is the longer one: its length, and the direction of the last edge
    quad = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [3.0, 14.0], [0.0, 8.0]]])
    want = torch.tensor([[1.5, 7.0, 10.0, 5.0, -math.pi / 2]])
    torch.testing.assert_close(coders.from_edges(quad), want)


def test_polygons_are_the_release(golden):
    """The release's own conversion of four corners gave NaN in six rows."""
    polygons = golden["gt_poly"].reshape(-1, 4, 2).numpy()
    np.testing.assert_allclose(np.sort(vertices(golden["gt"]), 1), np.sort(polygons, 1), atol=1e-9)
    whole = golden["poly_to_obb"].isfinite().all(1)
    assert int((~whole).sum()) == 6
    found = torch.from_numpy(corners_to_obb(polygons))
    assert_same_rectangles(found[whole], golden["poly_to_obb"][whole])
    assert_same_rectangles(found, golden["gt"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_glides_of_upright_boxes_are_all_0_or_all_1(dtype):
    """Whatever rounding does to their level corners."""
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(2000, 5, generator=generator, dtype=torch.float64) * 900 + 20
    boxes[:, 4] = torch.randn(2000, generator=generator, dtype=torch.float64) * 1e-7
    boxes[1000:, 4] -= math.pi / 2
    boxes[:200, 4] = 0
    glides = coders.encode_gliding(coders.canonical(boxes).to(dtype))[:, :4]
    assert bool(((glides > 0.99).all(1) | (glides < 0.01).all(1)).all())
    exact = coders.encode_gliding(boxes[:200].to(dtype))[:, :4]
    assert bool((exact == 1).all())


def test_what_fills_its_box_is_upright(golden):
    around = golden["gt_xyxy"][:3]
    glides = torch.tensor([[0.5, 0.5, 0.5, 0.5, 0.81]] * 3, dtype=torch.float64)
    quads = coders.decode_gliding(around, glides)
    torch.testing.assert_close(quads[:, 0], around[:, :2])
    torch.testing.assert_close(quads[:, 2], around[:, 2:])


def test_geometry_agrees_with_numpy(golden):
    boxes = golden["gt"]
    wanted = vertices(boxes)
    np.testing.assert_allclose(coders.corners(boxes), wanted, atol=1e-9)
    around = coders.enclosing(boxes).numpy()
    np.testing.assert_allclose(around[:, :2], wanted.min(1), atol=1e-9)
    np.testing.assert_allclose(around[:, 2:], wanted.max(1), atol=1e-9)
    np.testing.assert_allclose(coders.canonical(boxes)[:, 2:4], boxes[:, 2:4])
    again = coders.scale(coders.scale(boxes, (1.5, 1.498)), (1 / 1.5, 1 / 1.498))
    long = boxes[:, 2] > 1.01 * boxes[:, 3]
    assert_same_rectangles(again[long], boxes[long], atol=1e-6)
    resized = rotated.scale(boxes.numpy(), (1.5, 1.498))
    assert_same_rectangles(coders.scale(boxes, (1.5, 1.498)), resized, atol=1e-6)


@pytest.mark.parametrize("kind", ["upright", "rotated"])
def test_turning_a_box_makes_no_jump(kind):
    """Through 360 degrees the loss and its gradient change little from step to step.

    Except where the sides swap, 45 degrees from the reference: four times a turn. The ends of the
    angle's range, every 180 degrees, are elsewhere.
    """
    steps = 3600
    angle = torch.arange(steps, dtype=torch.float64) * (2 * math.pi / steps) + 1e-4
    boxes = coders.canonical(
        torch.stack([*(torch.full_like(angle, v) for v in (50.0, 60.0, 24.0, 9.0)), angle], 1)
    )
    if kind == "upright":
        reference, encode = torch.tensor([40.0, 45.0, 62.0, 70.0]).double(), coders.encode_upright
        turned = 0.0
    else:
        reference = torch.tensor([48.0, 61.0, 20.0, 11.0, 0.7]).double()
        encode, turned = coders.encode_rotated, 0.7
    targets = encode(reference.expand(steps, -1), boxes, HEAD)
    guess = torch.tensor([0.3, -0.2, 0.1, 0.4, 0.2]).double().repeat(steps, 1).requires_grad_()
    loss = torch.nn.functional.smooth_l1_loss(guess, targets, reduction="none").sum(1)
    (gradient,) = torch.autograd.grad(loss.sum(), guess)
    jump = (loss - loss.roll(1)).abs().detach()
    turn = (gradient - gradient.roll(1, 0)).abs().amax(1)
    quarter = (angle - turned - math.pi / 4) % (math.pi / 2)
    swap = quarter < 2 * math.pi / steps * 1.01
    assert int(swap.sum()) in (4, 5)
    assert jump[~swap].max() < 0.02
    assert turn[~swap].max() < 0.02
    assert jump[swap].max() > 0.1  # the swap is where the jumps are


def test_any_shape_of_boxes_is_taken(golden):
    """Rows in blocks give what rows give: the last axis alone has a meaning."""
    rois, gt, proposals = golden["rois"], golden["gt"], golden["rproposals"]
    xyxy = golden["gt_xyxy"]
    calls = [
        (coders.canonical, (gt,)),
        (coders.enclosing, (gt,)),
        (coders.corners, (gt,)),
        (lambda boxes: coders.centred_inside(boxes, (300, 200)), (gt,)),
        (coders.upright, (xyxy,)),
        (lambda boxes: coders.scale(boxes, (1.5, 0.7)), (gt,)),
        (lambda a, b: coders.encode_upright(a, b, HEAD), (rois, gt)),
        (lambda a, b: coders.decode_upright(a, b, HEAD), (rois, golden["hbb_decode_in"])),
        (lambda a, b: coders.encode_rotated(a, b, HEAD), (proposals, gt)),
        (lambda a, b: coders.decode_rotated(a, b, HEAD), (proposals, golden["rbb_decode_in"])),
        (lambda a, b: coders.encode_midpoint(a, b, MIDPOINT), (rois, gt)),
        (
            lambda a, b: coders.decode_midpoint(a, b, MIDPOINT),
            (rois, golden["midpoint_decode_in"]),
        ),
        (coders.encode_gliding, (gt,)),
        (coders.decode_gliding, (xyxy, coders.encode_gliding(gt))),
    ]
    for function, arguments in calls:
        rows = function(*arguments)
        blocks = function(*(one.reshape(2, 4, 25, one.shape[-1]) for one in arguments))
        torch.testing.assert_close(blocks.reshape(rows.shape), rows)
        assert blocks.shape == (2, 4, 25, *rows.shape[1:])


def test_upright_boxes_as_oriented_ones():
    found = coders.upright(torch.tensor([[10.0, 20.0, 16.0, 24.0], [0.0, 0.0, 2.0, 9.0]]))
    wanted = torch.tensor([[13.0, 22.0, 6.0, 4.0, 0.0], [1.0, 4.5, 9.0, 2.0, -math.pi / 2]])
    torch.testing.assert_close(found, wanted)


def test_centres_beyond_the_image_move_into_its_last_pixel():
    boxes = torch.tensor([[-3.0, 5.0, 4.0, 2.0, 0.3], [19.5, 40.0, 4.0, 2.0, 0.3]])
    want = torch.tensor([[0.0, 5.0, 4.0, 2.0, 0.3], [19.0, 29.0, 4.0, 2.0, 0.3]])
    torch.testing.assert_close(coders.clamp_centres(boxes, (30, 20)), want)


def test_centres_on_the_border_are_inside():
    centres = [[0, 0], [40, 30], [-0.1, 5], [5, -0.1], [40.1, 5], [5, 30.1], [35, 5]]
    found = torch.tensor([[x, y, 8.0, 4.0, 0.3] for x, y in centres])
    wanted = [True, True, False, False, False, False, True]
    assert coders.centred_inside(found, (30, 40)).tolist() == wanted
    for column in range(5):
        broken = torch.tensor([[5.0, 5.0, 8.0, 4.0, 0.3]])
        broken[0, column] = torch.inf if column > 1 else torch.nan
        assert not coders.centred_inside(broken, (30, 40)).any()


@pytest.mark.parametrize("kind", ["upright", "rotated"])
@pytest.mark.parametrize(("delta", "ratio"), [(100.0, 62.5), (-100.0, 0.016)])
def test_the_ratio_of_sizes_is_limited(kind, delta, ratio):
    if kind == "upright":
        roi, decode = torch.tensor([[0.0, 0.0, 10.0, 8.0]]), coders.decode_upright
    else:
        roi, decode = torch.tensor([[5.0, 4.0, 10.0, 8.0, 0.0]]), coders.decode_rotated
    found = decode(roi, torch.tensor([[0.0, 0.0, delta, delta, 0.0]]), HEAD)
    torch.testing.assert_close(found[:, :4], torch.tensor([[5.0, 4.0, 10 * ratio, 8 * ratio]]))


@pytest.mark.parametrize("angle", [-1236.216796875, -1063.42919921875, 510.5088195800781])
def test_float32_angles_that_round_to_the_open_end(angle):
    boxes = torch.tensor([[5.0, 6.0, 8.0, 4.0, angle]])
    found = coders.canonical(boxes)
    assert_same_rectangles(found, boxes, atol=1e-2)
