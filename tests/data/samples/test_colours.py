from __future__ import annotations

import cv2
import numpy as np
import pytest

from sodkit.data.samples import colours
from sodkit.data.samples.colours import Shift
from sodkit.settings.augment import Colours

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 30, 3)).astype(np.uint8)


@pytest.mark.parametrize("shift", [Shift(5, 30, -30), Shift(-4, 0, 12), Shift(0, -25, 0)])
def test_hue_goes_round_and_the_others_end(shift: Shift) -> None:
    changed = IMAGE.copy()
    shift.apply(changed)
    hsv = cv2.cvtColor(IMAGE, cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + shift.hue) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] + shift.saturation, 0, 255)
    hsv[..., 2] = np.clip(hsv[..., 2] + shift.value, 0, 255)
    assert np.array_equal(changed, cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB))
    assert not np.array_equal(changed, IMAGE)


def test_without_a_change_the_pixels_stay() -> None:
    changed = IMAGE.copy()
    Shift(0, 0, 0).apply(changed)
    assert np.array_equal(changed, IMAGE)


def test_a_part_of_a_batch_is_changed_where_it_is() -> None:
    memory = np.zeros((40, 40, 3), np.uint8)
    memory[:24, :30] = IMAGE
    Shift(5, 30, 30).apply(memory[:24, :30])
    assert not np.array_equal(memory[:24, :30], IMAGE)
    assert not memory[24:].any()
    assert not memory[:, 30:].any()


def test_each_is_drawn_half_of_the_time_and_within_its_range() -> None:
    rng = np.random.default_rng(0)
    drawn = [colours.draw(Colours(), rng) for _ in range(400)]
    for name, most in (("hue", 5), ("saturation", 30), ("value", 30)):
        values = np.array([getattr(one, name) for one in drawn])
        assert np.abs(values).max() == most - 1  # whole parts of numbers below the range's end
        none = np.mean(values == 0)
        assert 0.4 < none < 0.7
