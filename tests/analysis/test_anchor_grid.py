"""The grid's closed forms against anchors made and measured one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sodkit.analysis import anchor_grid
from sodkit.analysis.anchor_grid import (
    best_iou,
    count_anchors,
    count_region,
    dynamic_thresholds,
)
from sodkit.geometry.boxes import iou
from sodkit.settings.anchor_levels import AnchorLevel
from sodkit.settings.proposers import Rpn, Threshold
from sodkit.settings.two_stage import Cfinet, FasterRcnn, Fpn

CRPN = Cfinet().anchor_levels()
RPN = FasterRcnn(fpn=Fpn(levels=5)).anchor_levels()


def all_anchors(levels, width, height):
    parts = []
    for level in levels:
        x = np.arange(int(np.ceil(width / level.stride))) * level.stride
        y = np.arange(int(np.ceil(height / level.stride))) * level.stride
        centres = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        for size in level.sizes:
            half = np.array(size) / 2
            parts.append(np.concatenate([centres - half, centres + half], axis=1))
    return np.concatenate(parts)


def random_boxes(seed, count, width, height):
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(np.log(1), np.log(200), (count, 2)))
    low = rng.uniform(-10, 1, (count, 2)) + rng.uniform(0, 1, (count, 2)) * [width, height]
    return np.concatenate([low, low + sides], axis=1)


def test_levels_of_recipes():
    assert list(CRPN) == [AnchorLevel(s, ((2.0 * s, 2.0 * s),)) for s in (4, 8, 16, 32)]
    assert [level.stride for level in RPN] == [4, 8, 16, 32, 64]
    for level in RPN:
        sizes = np.array(level.sizes)
        assert np.allclose(sizes.prod(axis=1), (2 * level.stride) ** 2)
        assert np.allclose(sizes[:, 1] / sizes[:, 0], [0.5, 1, 2])
    scaled = FasterRcnn(proposals=Rpn(anchor_scale=1)).anchor_levels()
    assert scaled[0].sizes[1] == (4.0, 4.0)


@pytest.mark.parametrize("block", [500_000, 50])
@pytest.mark.parametrize("levels", [CRPN, RPN], ids=["crpn", "rpn"])
def test_against_brute_force(levels, block, monkeypatch):
    monkeypatch.setattr(anchor_grid, "BLOCK_CELLS", block)
    width, height = 250, 180
    boxes = random_boxes(0, 150, width, height)
    extents = np.tile([float(width), height], (len(boxes), 1))
    thresholds = np.tile([0.2, 0.45, 0.7], (len(boxes), 1))
    thresholds[:, 2] = np.random.default_rng(1).uniform(0.05, 0.6, len(boxes))
    full = iou(boxes, all_anchors(levels, width, height))
    assert np.allclose(best_iou(boxes, extents, levels), full.max(axis=1), atol=1e-12)
    counts = count_anchors(boxes, extents, levels, thresholds)
    assert np.array_equal(counts, (full[:, :, None] >= thresholds[:, None, :]).sum(axis=1))
    assert counts.max() > 5


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0, 60), st.floats(0, 60), st.floats(0.5, 90), st.floats(0.5, 90),
    st.integers(20, 64), st.integers(20, 64),
)  # fmt: skip
def test_best_iou_of_any_box(x, y, w, h, width, height):
    box, extent = np.array([[x, y, x + w, y + h]]), np.array([[float(width), height]])
    expected = iou(box, all_anchors(RPN, width, height)).max()
    assert best_iou(box, extent, RPN)[0] == pytest.approx(expected, abs=1e-12)


def test_an_anchor_itself_has_iou_1():
    box = np.array([[8.0 * 5 - 8, 8 * 3 - 8, 8 * 5 + 8, 8 * 3 + 8]])
    extent = np.array([[100.0, 100]])
    assert best_iou(box, extent, CRPN)[0] == 1
    assert count_anchors(box, extent, CRPN, np.array([[1.0]]))[0, 0] == 1


def test_no_boxes():
    none, pairs = np.zeros((0, 4)), np.zeros((0, 2))
    assert best_iou(none, pairs, CRPN).shape == (0,)
    assert count_anchors(none, pairs, CRPN, np.zeros((0, 3))).shape == (0, 3)
    assert count_region(none, pairs, CRPN, 0.2).shape == (0,)


def test_progress_counts_kinds_of_anchors():
    calls = []
    boxes, extents = random_boxes(0, 3, 50, 50), np.full((3, 2), 50.0)
    count_anchors(boxes, extents, RPN, np.full((3, 1), 0.5), lambda *a: calls.append(a))
    assert calls == [(k, 15) for k in range(1, 16)]


def test_region_counts():
    """By hand: 16 x 16 belongs to stride 8, 8 x 8 to 4; a region has one location at least."""
    boxes = np.array([[32.0, 32, 48, 48], [32, 32, 40, 40], [35, 35, 37, 37]])
    extents = np.full((3, 2), 100.0)
    assert count_region(boxes, extents, CRPN, 0.2).tolist() == [1, 1, 1]
    # (40 -+ 8) / 8 = 4..6; (36 -+ 4) / 4 = 8..10; (36 -+ 1) / 4 = 8.75..9.25 -> 9..9
    assert count_region(boxes, extents, CRPN, 1.0).tolist() == [9, 9, 1]
    # the grid ends at 40: of 8..10 columns and rows 8 and 9 are left
    assert count_region(boxes[1:2], extents[1:2] * 0.4, CRPN, 1.0).tolist() == [4]
    # off the grid two locations can be nearest: (34 -+ .2) / 4 = 8.45..8.55 -> 8..9
    assert count_region(boxes[2:] - 2, extents[2:], CRPN, 0.2).tolist() == [4]


def test_dynamic_thresholds():
    """Paper, Eq. 1: .25 up to the size where .20 + .15 log2(s / 12) passes it."""
    sides = np.array([6.0, 12, 24, 48])
    boxes = np.stack([0 * sides, 0 * sides, sides, sides], axis=1)
    assert np.allclose(dynamic_thresholds(Threshold(), boxes), [0.25, 0.25, 0.35, 0.5])
    release = Threshold(base=0.25, floor=0.2, cap=0.25)
    assert np.allclose(dynamic_thresholds(release, boxes), [0.2, 0.25, 0.25, 0.25])
    fixed = Threshold(base=0.4, gamma=0.0, floor=0.0)
    assert np.allclose(dynamic_thresholds(fixed, boxes), 0.4)
