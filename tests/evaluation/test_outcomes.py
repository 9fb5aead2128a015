"""Outcomes: the evaluation's own matching, read off detection by detection."""

from dataclasses import replace

import numpy as np
import pytest
from report_cases import random_case, scene

from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.outcomes import main_metric, match_classes, outcomes
from sodkit.evaluation.protocol import COCO, SODA_A, SODA_D, customise
from sodkit.evaluation.tide import mean_average_precision, ranking_of


def outcomes_of(annotations, detections, protocol=SODA_D, **options):
    matching = match_classes(annotations, detections, protocol, **options)
    return outcomes(annotations, detections, matching, protocol)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("protocol", [SODA_D, COCO, customise(SODA_D, "few", max_dets=(2, 3, 9))])
@pytest.mark.parametrize("rule", ["drop", "absorb"])
def test_ap50_from_outcomes_is_the_evaluations(seed, protocol, rule):
    case = random_case(seed)
    expected = evaluate(*case, protocol, ignore_regions=rule).metrics["AP50"]
    found = outcomes_of(*case, protocol, ignore_regions=rule)
    ap = mean_average_precision(ranking_of(case[0], found), np.array(protocol.recalls))
    assert ap == pytest.approx(expected, abs=1e-12)


def test_ap50_of_oriented_boxes():
    case = random_case(3, oriented=True)
    found = outcomes_of(*case, SODA_A)
    ap = mean_average_precision(ranking_of(case[0], found), np.array(SODA_A.recalls))
    assert ap == pytest.approx(evaluate(*case, SODA_A).metrics["AP50"], abs=1e-12)


def test_columns_of_one_image():
    objects = [(1, 0, 10, 10, 20, 20), (1, 0, 60, 10, 20, 20), (1, 1, 10, 60, 60, 60)]
    detections = [
        (1, 0, 0.5, 10, 10, 20, 20),  # right
        (1, 0, 0.9, 120, 10, 20, 20),  # wrong
        (1, 0, 0.4, 120, 10, 80, 80),  # too large to count
        (1, 1, 0.3, 10, 60, 60, 60),  # on an object too large to count
    ]
    annotations, found = scene(objects, detections)
    got = outcomes_of(annotations, found)
    assert got.detection.tolist() == [1, 0, 2, 3]
    assert got.score.tolist() == [0.9, 0.5, 0.4, 0.3]
    assert got.right.tolist() == [False, True, False, False]
    assert got.wrong.tolist() == [True, False, False, False]
    assert got.target.tolist() == [-1, 0, -1, 2]
    assert got.object.tolist() == [0, 1, 2]
    assert got.counts.tolist() == [True, True, False]
    assert got.found.tolist() == [True, False, False]


def test_images_are_indices_not_ids_or_ranks():
    annotations, detections = random_case(5)
    got = outcomes_of(annotations, detections)
    ids = np.array([image.id for image in annotations.images])
    assert np.array_equal(ids[got.image], detections.image_ids[got.detection])


def test_detections_beyond_the_limit_of_ap_have_no_outcome():
    objects = [(1, 0, 10, 10, 20, 20)]
    detections = [(1, 0, 0.9, 100, 100, 20, 20), (1, 0, 0.8, 10, 10, 20, 20)]
    got = outcomes_of(*scene(objects, detections), customise(SODA_D, "one", max_dets=(1,)))
    assert got.detection.tolist() == [0]
    assert got.found.tolist() == [False]


def test_main_metric_is_the_ap_of_the_first_range():
    assert main_metric(SODA_D).name == "AP"
    assert main_metric(COCO).max_dets == 100
    recall = replace(SODA_D, metrics=SODA_D.metrics[3:])  # AP of other ranges, AR of the first
    with pytest.raises(ValueError, match="no AP over Small"):
        main_metric(recall)


def test_images_of_a_single_class():
    objects = [(1, 0, 10, 10, 20, 20), (2, 0, 10, 10, 20, 20), (3, 0, 10, 10, 20, 20)]
    detections = [(image, 0, 0.9 - image / 10, 10, 10, 20, 20) for image in (1, 2, 3)]
    got = outcomes_of(*scene(objects, detections, classes=1, images=3))
    assert got.image.tolist() == [0, 1, 2]
