import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodkit.geometry import rotated
from sodkit.geometry.overlap import rotated_iou_pairs

place = st.floats(-200, 3000)
side = st.floats(0.5, 90)
angle = st.floats(-math.pi / 2, math.pi / 2, exclude_max=True)
box = st.builds(
    lambda x, y, w, h, a: rotated.canonical(np.array([[x, y, w, h, a]])),
    place, place, side, side, angle,
)  # fmt: skip


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Greatest distance of a corner of ``a`` from the nearest of ``b``."""
    first, second = rotated.obb_to_corners(a), rotated.obb_to_corners(b)
    return float(np.linalg.norm(first[:, :, None] - second[:, None], axis=-1).min(axis=2).max())


@given(box)
def test_the_same_rectangle_of_another_convention_is_brought_into_ours(obb: np.ndarray) -> None:
    turned = obb[:, [0, 1, 3, 2, 4]] + np.array([0, 0, 0, 0, math.pi / 2])  # h along the angle
    for other in (turned, obb + np.array([0, 0, 0, 0, math.pi])):  # oc; le135
        assert apart(rotated.canonical(other), obb) < 1e-3


@pytest.mark.parametrize("angle", [-math.pi / 2, -0.4, 0.0, 0.3, 1.2])
def test_opencv_means_the_same(angle: float) -> None:
    # which quarter turn minAreaRect reports depends on OpenCV's version, boxPoints does not
    obb = np.array([[50.0, 60.0, 40.0, 12.0, angle]])
    points = cv2.boxPoints(((50, 60), (40, 12), math.degrees(angle)))
    assert apart(rotated.corners_to_obb(np.asarray(points, np.float64)[None]), obb) < 1e-3
    (cx, cy), (w, h), degrees = cv2.minAreaRect(rotated.obb_to_corners(obb)[0].astype(np.float32))
    found = np.array([[cx, cy, w, h, math.radians(degrees)]])
    assert apart(rotated.canonical(found), obb) < 1e-3


@given(box, st.floats(100, 4000))
def test_a_flip_twice_is_nothing(obb: np.ndarray, size: float) -> None:
    for flip in (rotated.flip_horizontal, rotated.flip_vertical):
        once = flip(obb, size)
        assert -math.pi / 2 <= once[0, 4] < math.pi / 2
        assert apart(flip(once, size), obb) < 1e-6


@given(box, st.floats(100, 4000))
def test_a_flip_mirrors_every_corner(obb: np.ndarray, size: float) -> None:
    for flip, axis in ((rotated.flip_horizontal, 0), (rotated.flip_vertical, 1)):
        mirrored = rotated.obb_to_corners(obb)
        mirrored[..., axis] = size - mirrored[..., axis]
        assert apart(rotated.corners_to_obb(mirrored), flip(obb, size)) < 1e-4


@given(box, st.floats(0.2, 4), st.floats(0.98, 1.02))
def test_resizing(obb: np.ndarray, x: float, ratio: float) -> None:
    factors = (x, x * ratio)
    there = rotated.scale(obb, factors)
    corners = rotated.obb_to_corners(obb) * np.array(factors)
    # a rectangle within 1 % of a square's proportions bends by no more than that of its side
    assert apart(there, rotated.corners_to_obb(corners)) < 0.03 * obb[0, 2] * x
    if obb[0, 2] > 1.05 * obb[0, 3]:
        assert apart(rotated.scale(there, (1 / factors[0], 1 / factors[1])), obb) < 1e-3
    even = rotated.scale(obb, (x, x))
    assert apart(even, rotated.corners_to_obb(rotated.obb_to_corners(obb) * x)) < 1e-6 + 1e-4


@given(box, box, st.floats(-3, 3), st.floats(-500, 500))
def test_overlap_is_symmetric_and_blind_to_motion(
    a: np.ndarray, b: np.ndarray, turn: float, shift: float
) -> None:
    b = b.copy()
    b[:, :2] = a[:, :2] + (b[:, :2] % 31) - 15  # near, so that they overlap
    iou = rotated_iou_pairs(a, b)[0]
    assert rotated_iou_pairs(b, a)[0] == pytest.approx(iou, abs=1e-9)
    cos, sin = math.cos(turn), math.sin(turn)
    moved = []
    for obb in (a, b):
        centre = obb[:, :2] @ np.array([[cos, sin], [-sin, cos]]) + shift
        moved.append(rotated.canonical(np.column_stack([centre, obb[:, 2:4], obb[:, 4] + turn])))
    assert rotated_iou_pairs(*moved)[0] == pytest.approx(iou, abs=1e-7)
