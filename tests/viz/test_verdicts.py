"""What became of objects and detections at one score."""

from dataclasses import replace

import numpy as np
import pytest

from sodkit.data.records import Detections
from sodkit.errors import DataError
from sodkit.synthetic import make_scene
from sodkit.viz.verdicts import judge


@pytest.fixture(scope="module", params=["horizontal", "oriented"])
def truth(request):
    return make_scene(4, 500, 400, request.param)[1]


def found_in(truth, rows, scores):
    objects = truth.take(np.asarray(rows, np.int64))
    return Detections(
        np.ones(len(objects), np.int64), objects.labels, np.asarray(scores, float), objects.xywh,
        objects.obb,
    )  # fmt: skip


def test_found_false_and_missed(truth):
    rows = np.flatnonzero(~truth.ignore)
    given = [rows[0], rows[1], rows[1], rows[2]]
    found = found_in(truth, given, [0.9, 0.8, 0.7, 0.2])
    result = judge(truth, found, 0.3)
    assert result.right.tolist() == [True, True, False, False]
    assert result.false.tolist() == [False, False, True, False]  # a second one; too low a score
    assert set(np.flatnonzero(result.missed)) == set(rows[2:])
    lower = judge(truth, found, 0.1)
    assert lower.right.tolist() == [True, True, False, True]
    assert set(np.flatnonzero(lower.missed)) == set(rows[3:])


def test_another_class_is_false(truth):
    rows = np.flatnonzero(~truth.ignore)
    found = found_in(truth, rows[:1], [0.9])
    other = replace(found, labels=(found.labels + 1) % len(truth.categories))
    result = judge(truth, other, 0.3)
    assert result.false.tolist() == [True]
    assert result.missed[rows[0]]


def test_what_is_ignored_makes_nothing_false_or_missed(truth):
    objects = np.flatnonzero(truth.ignore & ~truth.is_region)
    regions = np.flatnonzero(truth.is_region)
    assert len(regions)
    inside = found_in(truth, regions[:1], [0.9])
    inside = replace(inside, labels=np.zeros(1, np.int64))
    result = judge(truth, inside, 0.3)
    assert not result.false.any()
    assert not result.right.any()
    assert not result.missed[truth.ignore].any()
    if len(objects):
        result = judge(truth, found_in(truth, objects[:1], [0.9]), 0.3)
        assert not result.false.any()


def test_objects_of_every_size_count():
    truth = make_scene(4, 500, 400, "horizontal")[1]
    row = int(np.flatnonzero(~truth.ignore)[0])
    xywh, area = truth.xywh.copy(), truth.area.copy()
    xywh[row], area[row] = (0, 0, 400, 300), 120000
    large = replace(truth, xywh=xywh, area=area, polygons=None)
    result = judge(large, found_in(large, [row], [0.9]), 0.3)
    assert result.right.all()


def test_nothing_at_all(truth):
    nothing = truth.take(np.zeros(0, np.int64))
    result = judge(nothing, found_in(truth, [], []), 0.3)
    assert len(result.missed) == len(result.right) == 0
    everything = judge(truth, found_in(truth, [], []), 0.3)
    assert everything.missed.sum() == (~truth.ignore).sum()


def test_another_kind_of_box_is_refused():
    truth = make_scene(4, 500, 400, "oriented")[1]
    found = found_in(truth, [0], [0.9])
    with pytest.raises(DataError, match="horizontal"):
        judge(truth, replace(found, obb=None), 0.3)
