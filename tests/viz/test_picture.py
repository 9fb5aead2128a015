"""Whole pictures: what is selected, counted and magnified."""

import numpy as np
import pytest

from sodkit.data.records import Detections
from sodkit.synthetic import make_scene
from sodkit.viz.content import Style, select
from sodkit.viz.picture import draw_selected, legend_entries, zoom_windows


@pytest.fixture(scope="module", params=["horizontal", "oriented"])
def scene(request):
    return make_scene(4, 500, 400, request.param)


def draw_picture(image, categories, truth=None, detections=None, style=None):
    style = style or Style()
    return draw_selected(image, categories, select(truth, detections, style), style)


def as_detections(truth, scores):
    return Detections(np.ones(len(truth), np.int64), truth.labels, scores, truth.xywh, truth.obb)


def test_the_image_stays_where_nothing_is_drawn(scene):
    image, truth = scene
    before = image.copy()
    nothing = truth.take(np.zeros(len(truth), bool))
    picture = draw_picture(image, truth.categories, nothing)
    assert np.array_equal(picture[:400], image)
    assert picture.shape[0] > 400
    drawn = draw_picture(image, truth.categories, truth)
    assert not np.array_equal(drawn[:400], image)
    assert np.array_equal(image, before)


def test_hidden_ignored_parts_leave_no_trace(scene):
    image, truth = scene
    ignored = truth.take(truth.ignore)
    assert len(ignored) > 0
    hidden = draw_picture(image, truth.categories, ignored, style=Style(ignore="hide"))
    assert np.array_equal(hidden[:400], image)
    for mode in ("mask", "outline"):
        shown = draw_picture(image, truth.categories, ignored, style=Style(ignore=mode))
        assert not np.array_equal(shown[:400], image)


def test_score_cut_and_order(scene):
    _, truth = scene
    objects = truth.take(~truth.ignore).take(np.arange(4))
    found = as_detections(objects, np.array([0.9, 0.29, 0.3, 0.5]))
    content = select(objects, found, Style(score=0.3))
    assert content.found is not None
    assert content.found.scores.tolist() == [0.3, 0.5, 0.9]


def test_legend_counts(scene):
    _, truth = scene
    objects = truth.take(~truth.ignore)
    found = as_detections(objects, np.linspace(0, 1, len(objects)))
    name = truth.categories[int(objects.labels[-1])].name
    right = int((objects.labels == objects.labels[-1]).sum())
    seen = int(((objects.labels == objects.labels[-1]) & (found.scores >= 0.5)).sum())
    style = Style(score=0.5)
    both = legend_entries(truth.categories, select(truth, found, style), style)
    assert f"{name} {seen} / {right}" in [text for text, _ in both]
    assert f"ignored {truth.ignore.sum()}" in [text for text, _ in both]
    alone = legend_entries(truth.categories, select(truth, None, style), style)
    assert f"{name} {right}" in [text for text, _ in alone]
    blind = legend_entries(truth.categories, select(None, found, style), style)
    assert f"{name} {seen}" in [text for text, _ in blind]


def test_predictions_and_truth_look_different(scene):
    image, truth = scene
    objects = truth.take(~truth.ignore)
    as_truth = draw_picture(image, truth.categories, objects)
    found = as_detections(objects, np.ones(len(objects)))
    as_found = draw_picture(image, truth.categories, None, found)
    both = draw_picture(image, truth.categories, objects, found)
    assert np.array_equal(as_truth[:400], as_found[:400])
    assert not np.array_equal(both[:400], as_found[:400])


def test_zoom_windows_show_the_smallest_inside_the_image(scene):
    image, truth = scene
    content = select(truth, None, Style())
    windows = zoom_windows(image.shape, truth.categories, content, 3)
    assert 1 <= len(windows) <= 3
    objects = truth.take(~truth.ignore)
    small = objects.xywh[int(objects.area.argmin())]
    (left, top, side), caption = windows[0]
    assert left <= small[0]
    assert left + side >= small[0] + small[2]
    assert top <= small[1]
    assert top + side >= small[1] + small[3]
    assert truth.categories[int(objects.labels[int(objects.area.argmin())])].name in caption
    for (left, top, side), _ in windows:
        assert left >= 0
        assert top >= 0
        assert left + side <= image.shape[1]
        assert top + side <= image.shape[0]


def test_zoom_strip_lies_below_and_keeps_the_width(scene):
    image, truth = scene
    plain = draw_picture(image, truth.categories, truth)
    zoomed = draw_picture(image, truth.categories, truth, style=Style(zoom=4))
    assert zoomed.shape[1] == 500
    assert np.array_equal(zoomed[:400], plain[:400])
    assert zoomed.shape[0] >= plain.shape[0] + 100


def test_zoom_on_an_empty_image_and_on_a_tiny_one(scene):
    image, truth = scene
    nothing = truth.take(np.zeros(len(truth), bool))
    assert draw_picture(image, truth.categories, nothing, style=Style(zoom=3)).shape[1] == 500
    tiny = draw_picture(image[:20, :20], truth.categories, truth, style=Style(zoom=3))
    assert tiny.shape[1] == 20
