import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sodkit.models.parts import coders

side = st.floats(1.0, 60.0, width=32)
place = st.floats(-50.0, 50.0, width=32)
box = st.builds(lambda x, y, w, h: [x, y, x + w, y + h], place, place, side, side)


@given(box, box)
def test_decoding_undoes_encoding(reference, target):
    a, b = torch.tensor([reference]), torch.tensor([target])
    stds = (0.1, 0.1, 0.2, 0.2)
    torch.testing.assert_close(
        coders.decode(a, coders.encode(a, b, stds), stds), b, atol=1e-3, rtol=1e-4
    )


def test_deltas():
    a, b = torch.tensor([[0.0, 0.0, 10.0, 20.0]]), torch.tensor([[5.0, 0.0, 25.0, 20.0]])
    found = coders.encode(a, b, (0.1, 0.1, 0.2, 0.2))
    torch.testing.assert_close(found, torch.tensor([[10.0, 0.0, math.log(2) / 0.2, 0.0]]))


@pytest.mark.parametrize(("delta", "ratio"), [(100.0, 62.5), (-100.0, 0.016)])
def test_the_ratio_of_sizes_is_limited(delta, ratio):
    a = torch.tensor([[-5.0, -5.0, 5.0, 5.0]])
    found = coders.decode(a, torch.tensor([[0.0, 0.0, delta, 0.0]]), (1, 1, 1, 1))
    assert found[0, 2] - found[0, 0] == pytest.approx(10 * ratio)


def test_clipping_uses_width_for_x_and_height_for_y():
    found = coders.clip(torch.tensor([[-5.0, -5.0, 500.0, 500.0]]), (100, 200))
    assert found.tolist() == [[0, 0, 200, 100]]


def test_any_shape_of_boxes_is_taken():
    """Rows, and rows in blocks: the last axis alone has a meaning."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(2, 2, 30, 2, generator=generator) * 50
    size = torch.rand(2, 2, 30, 2, generator=generator) * 30 + 2
    a, b = torch.cat([corner, corner + size], -1)
    stds = (0.1, 0.1, 0.2, 0.2)
    deltas = coders.encode(a, b, stds)
    torch.testing.assert_close(deltas[1], coders.encode(a[1], b[1], stds))
    torch.testing.assert_close(coders.decode(a, deltas, stds), b)
    clipped = coders.clip(b, (40, 30))
    torch.testing.assert_close(clipped[1], coders.clip(b[1], (40, 30)))
    assert clipped.shape == b.shape
