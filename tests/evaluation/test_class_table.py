"""What tables leave out, and what is said to be missing."""

from dataclasses import replace

import numpy as np
import pytest
from report_cases import random_case, scene

from sodkit.data.records import Detections
from sodkit.evaluation.class_table import gaps, largest_classes, metric_columns
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import SODA_D

SMALL, NORMAL = (1, 0, 10, 10, 20, 20), (1, 0, 60, 60, 40, 40)


def titles(*cases):
    return [one.title for one in metric_columns([evaluate(*case, SODA_D) for case in cases])]


def test_repeated_and_undefined_columns_are_left_out():
    case = scene([SMALL, NORMAL], [(1, 0, 0.9, *SMALL[2:])])
    assert titles(case) == [
        "AP", "AP50", "AP75", "AP_rS", "AP_gS", "AP_N", "AR@100, 300, 1000",
        "AR_rS", "AR_gS", "AR_N",
    ]  # fmt: skip


def test_columns_that_differ_anywhere_stay():
    """The limit of 100 matters in one of two runs only, and only there in AR@100."""
    few = scene([SMALL], [(1, 0, 0.9, *SMALL[2:])])
    wrong = [(1, 0, 0.9, 200, 10, 20, 20)] * 100
    many = scene([SMALL], [*wrong, (1, 0, 0.8, *SMALL[2:])])
    assert "AR@100, 300, 1000" in titles(few)
    assert {"AR@100", "AR@300, 1000"} <= set(titles(many))
    assert titles(few, many) == titles(many, few) == titles(many)


def test_largest_classes():
    evaluation = evaluate(*scene([SMALL, (1, 2, *SMALL[2:]), (1, 2, *SMALL[2:])], []), SODA_D)
    assert largest_classes(evaluation) == [0, 1, 2]
    assert largest_classes(evaluation, 2) == [0, 2]
    assert largest_classes(evaluation, 1) == [2]


def said(annotations, detections):
    return gaps(evaluate(annotations, detections, SODA_D), annotations, detections)


def test_nothing_is_missing():
    areas = [(10, 10), (15, 15), (25, 25), (40, 40)]
    objects = [(image, 0, 50 * k, 10, *one) for k, one in enumerate(areas) for image in (1, 2)]
    found = [(1, 0, 0.5, *SMALL[2:])]
    assert said(*scene(objects, found, classes=1, images=2)) == []


def test_what_is_missing_is_said():
    objects = [SMALL, (2, 1, *SMALL[2:])]
    annotations, found = scene(objects, [(1, 0, 0.5, *SMALL[2:])], images=3)
    assert said(annotations, found) == [
        "1 of 3 images have no objects that count.",
        "There are no objects of the size eS: its metrics are undefined.",
        "There are no objects of the size N: its metrics are undefined.",
        "1 of 3 classes have no objects in Small and are in no mean: class 2.",
        "1 of 3 classes have objects and no detections: class 1.",
    ]
    assert "There are no detections: every object is missed." in said(
        annotations, Detections.empty()
    )
    ignored = replace(annotations, ignore=np.ones(2, bool))
    assert said(ignored, found) == ["There are no objects that count: no AP can be measured."]


@pytest.mark.parametrize("oriented", [False, True])
def test_one_image(oriented):
    case = random_case(0, images=1, oriented=oriented)
    assert "There is one image: nothing says how other images would differ." in said(*case)
