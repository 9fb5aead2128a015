"""Colours of classes stay apart, and tell classes beyond them by a letter."""

from itertools import combinations

import cv2
import numpy as np

from sodkit.viz.palette import (
    IGNORED,
    INK,
    PALETTE,
    PAPER,
    class_colour,
    class_letter,
    marked,
)


def lab(colour):
    return cv2.cvtColor(np.float32([[colour]]) / 255, cv2.COLOR_RGB2LAB)[0, 0]


def test_twenty_and_more_stay_apart():
    """A distance of 2.3 can just be seen in large areas side by side."""
    assert len(PALETTE) >= 20
    for one, other in combinations([*PALETTE, IGNORED, INK, PAPER], 2):
        assert np.linalg.norm(lab(one) - lab(other)) > (25 if other in PALETTE else 4)


def test_each_class_has_a_look_of_its_own():
    looks = {(class_colour(label), class_letter(label)) for label in range(2000)}
    assert len(looks) == 2000
    turns = [class_letter(turn * len(PALETTE)) for turn in (0, 1, 2, 26, 27, 52, 53)]
    assert turns == ["", "A", "B", "Z", "AA", "AZ", "BA"]
    assert marked("car", 3) == "car"
    assert marked("car", 3 + len(PALETTE)) == "car (A)"
