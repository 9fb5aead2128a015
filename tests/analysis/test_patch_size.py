"""Patches for a resize factor: pixels, overlap, size of the images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodkit.analysis.patch_size import suggest_patch
from sodkit.analysis.sized_objects import SizedObjects
from sodkit.settings import Input

OWN = Input()  # 800 px, every 650, enlarged 1.5 times


def objects(side: float, image: float, count: int = 40) -> SizedObjects:
    boxes = np.tile([10.0, 10.0, 10.0 + side, 14.0], (count, 1))
    sizes = np.full((count, 2), image)
    return SizedObjects(boxes, np.zeros(count, np.int64), sizes)


@pytest.mark.parametrize(
    ("side", "image", "scale", "expected"),
    [
        (20.0, 4000.0, 1.5, (800, 650)),  # as it is
        (150.0, 4000.0, 1.5, (800, 650)),  # as long as the overlap
        (200.0, 4000.0, 1.5, (800, 600)),  # longer
        (900.0, 4000.0, 1.5, (800, 400)),  # half of the patch overlaps at most
        (20.0, 4000.0, 3.0, (400, 320)),  # twice the factor, half the patch, overlap in proportion
        (20.0, 4000.0, 0.75, (1600, 1300)),
        (20.0, 640.0, 1.5, (640, 520)),  # no larger than the images
        (20.0, 500.0, 0.5, (512, 410)),
        (900.0, 640.0, 1.5, (640, 520)),  # uncut images need no overlap
    ],
)
def test_patches(side, image, scale, expected):
    assert suggest_patch(objects(side, image), OWN, scale) == expected


@given(
    side=st.floats(1, 2000),
    image=st.floats(1, 6000),
    scale=st.floats(0.25, 4),
    patch=st.integers(1, 2000),
    stride=st.integers(1, 3000),
)
def test_a_patch_has_no_more_pixels_than_before(side, image, scale, patch, stride):
    own = Input(patch=patch, stride=stride)
    size, step = suggest_patch(objects(side, image), own, scale)
    assert Input(patch=size, stride=step, scale=scale).side <= own.side or size == 1
    assert 1 <= step <= max(size, stride)
