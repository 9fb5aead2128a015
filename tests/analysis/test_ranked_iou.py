"""The highest IoUs against all anchors, made and measured one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_anchor_grid import all_anchors, random_boxes

from sodkit.analysis.ranked_iou import ranked_iou
from sodkit.geometry.boxes import iou
from sodkit.settings.anchor_levels import levels

WIDTH, HEIGHT = 180, 140
GRIDS = [levels((4, 8, 16, 32), (2.0,), (1.0,)), levels((8, 16), (1.0, 3.0), (0.5, 1.0, 2.0))]


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    grid=st.sampled_from(GRIDS),
    count=st.integers(1, 15),
    least=st.floats(0.01, 0.6),
)
def test_against_every_anchor(seed, grid, count, least):
    boxes = random_boxes(seed, 12, WIDTH, HEIGHT)
    extents = np.tile([float(WIDTH), HEIGHT], (len(boxes), 1))
    top = ranked_iou(boxes, extents, grid, count, least)
    each = np.sort(iou(boxes, all_anchors(grid, WIDTH, HEIGHT)), axis=1)[:, ::-1][:, :count]
    np.testing.assert_allclose(top, np.where(each >= least, each, 0), atol=1e-9)


def test_no_boxes():
    nothing = np.zeros((0, 4))
    assert ranked_iou(nothing, nothing[:, :2], GRIDS[0], 3, 0.2).shape == (0, 3)
