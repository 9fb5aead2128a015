"""Names and scores beside boxes: what they say, where they stand."""

import numpy as np
import pytest

from sodkit.data.records import Category
from sodkit.viz.draw import View
from sodkit.viz.palette import PALETTE
from sodkit.viz.tags import draw_tags, tag_texts

CLASSES = tuple(Category(k, f"class {k}") for k in range(60))
LABELS, SCORES = np.array([2, 2 + len(PALETTE)]), np.array([0.5, 1.0])


@pytest.mark.parametrize(
    ("mode", "texts"),
    [
        ("none", ["", "A"]),
        ("class", ["class 2", "class 26 (A)"]),
        ("score", [".50", "A 1.00"]),
        ("both", ["class 2 .50", "class 26 (A) 1.00"]),
    ],
)
def test_texts(mode, texts):
    assert tag_texts(LABELS, SCORES, CLASSES, mode) == texts


def test_ground_truth_has_no_score():
    assert tag_texts(LABELS, None, CLASSES, "both") == ["class 2", "class 26 (A)"]
    assert tag_texts(LABELS, None, CLASSES, "score") == ["", "A"]


def box(x, y, side=10):
    return np.array([[[x, y], [x + side, y], [x + side, y + side], [x, y + side]]], float)


@pytest.mark.parametrize(
    ("at", "above"), [((40, 60), True), ((40, 2), False), ((115, 60), True), ((-4, 60), True)]
)
def test_they_stand_above_or_below_and_never_on_the_box(at, above):
    canvas = np.full((120, 120, 3), 127, np.uint8)
    draw_tags(canvas, View(), box(*at), np.array([2]), ["name"], 11)
    rows, columns = np.nonzero((canvas != 127).any(axis=2))
    assert len(rows) > 100
    assert columns.max() - columns.min() > 20
    assert rows.max() < at[1] if above else rows.min() > at[1] + 10


def test_boxes_out_of_view_and_empty_texts_leave_no_trace():
    canvas = np.full((120, 120, 3), 127, np.uint8)
    for x, y in ((0, 500), (500, 0), (0, -500), (-500, 0)):
        draw_tags(canvas, View(x, y, 2.0), box(40, 60), np.array([2]), ["name"], 11)
    draw_tags(canvas, View(), box(40, 60), np.array([2]), [""], 11)
    assert (canvas == 127).all()
