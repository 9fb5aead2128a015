"""What is chosen to be drawn."""

import numpy as np
import pytest

from sodkit.data.records import Detections
from sodkit.synthetic import make_scene
from sodkit.viz.content import Style, select
from sodkit.viz.picture import draw_selected, legend_entries
from sodkit.viz.verdicts import judge


@pytest.fixture(scope="module", params=["horizontal", "oriented"])
def case(request):
    """A scene; one object found, one box false, the others missed."""
    image, truth = make_scene(4, 500, 400, request.param)
    rows = np.flatnonzero(~truth.ignore)
    objects = truth.take(rows[[0, 1]])
    labels = objects.labels.copy()
    labels[1] = (labels[1] + 1) % len(truth.categories)
    found = Detections(
        np.ones(2, np.int64), labels, np.array([0.9, 0.8]), objects.xywh, objects.obb
    )
    return image, truth, found


def test_a_comparison_draws_found_false_and_missed(case):
    image, truth, found = case
    style = Style(labels="both")
    content = select(truth, found, style, judge(truth, found, style.score))
    assert content.false is not None
    assert content.false.tolist() == [True, False]  # the best last
    assert len(content.truth) == (~truth.ignore).sum() - 1
    assert len(content) == len(content.truth) + 2
    entries = legend_entries(truth.categories, content, style)
    assert entries[0][0] == "score ≥ 0.3: found (boxes) / false (dashed) / missed (corners)"
    sums = np.sum([[int(n) for n in text.split()[-5::2]] for text, _ in entries[1:-1]], axis=0)
    assert sums.tolist() == [1, 1, len(content.truth)]
    picture = draw_selected(image, truth.categories, content, style)
    assert (picture[:400] != image).any()


def test_only_missed_and_only_false(case):
    _, truth, found = case
    verdicts = judge(truth, found, 0.3)
    missed = select(truth, found, Style(only="missed"), verdicts)
    false = select(truth, found, Style(only="false"), verdicts)
    assert (len(missed.truth), len(missed.found)) == (verdicts.missed.sum(), 0)
    assert (len(false.truth), len(false.found)) == (0, 1)


def test_areas_are_from_to_both_included(case):
    _, truth, found = case
    objects = truth.take(~truth.ignore)
    low, high = np.sort(objects.area)[[2, -3]]
    content = select(truth, found, Style(areas=(low, high)))
    assert sorted(content.truth.area) == sorted(
        area for area in objects.area if low <= area <= high
    )
    sides = found.xywh[:, 2:] if found.obb is None else found.obb[:, 2:4]
    exact = float(sides[0].prod())
    assert len(select(None, found, Style(areas=(exact, exact))).found) >= 1
    assert len(select(None, found, Style(areas=(1e9, np.inf)))) == 0
