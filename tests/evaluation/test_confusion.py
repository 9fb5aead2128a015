"""Confusion: by hand, and what must add up."""

import json

import numpy as np
import pytest
from report_cases import random_case, scene

from sodkit.data.records import Detections
from sodkit.errors import UsageError
from sodkit.evaluation.confusion import confusion_matrix
from sodkit.evaluation.protocol import SODA_A, SODA_D
from sodkit.geometry.boxes import iou, xywh_to_xyxy

A, B, C = (1, 0, 10, 10, 20, 20), (1, 1, 60, 10, 20, 20), (1, 2, 110, 10, 20, 20)


def matrix_of(objects, detections, score=0.0, **options):
    case = scene(objects, detections, **options)
    return confusion_matrix(*case, SODA_D, score=score)


def test_right_wrong_missed_and_background():
    detections = [
        (1, 0, 0.9, 10, 10, 20, 20),
        (1, 2, 0.8, 60, 10, 20, 20),
        (1, 1, 0.7, 200, 100, 20, 20),
    ]
    got = matrix_of([A, B, C], detections)
    assert got.matrix.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert got.classes == ("class 0", "class 1", "class 2")
    assert got.uncounted == 0


def test_the_best_scored_takes_the_object_whatever_its_class():
    detections = [(1, 0, 0.5, 10, 10, 20, 20), (1, 1, 0.9, 12, 10, 20, 20)]
    got = matrix_of([A], detections)
    assert got.matrix[0].tolist() == [0, 1, 0, 0]
    assert got.matrix[3].tolist() == [1, 0, 0, 0]


def test_of_two_objects_the_nearer_is_taken():
    near = (1, 1, 14, 10, 20, 20)
    got = matrix_of([A, near], [(1, 1, 0.9, 13, 10, 20, 20)])
    assert got.matrix[:3].tolist() == [[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_detections_below_the_score_are_left_out():
    detections = [(1, 0, 0.5, 10, 10, 20, 20), (1, 0, 0.49, 200, 10, 20, 20)]
    got = matrix_of([A], detections, score=0.5)
    assert got.matrix.sum() == 1
    assert got.matrix[0, 0] == 1


def test_ignored_objects_and_other_sizes_are_in_no_cell():
    large = (1, 1, 60, 60, 60, 60)
    detections = [
        (1, 0, 0.9, 10, 10, 20, 20),  # on an ignored object
        (1, 1, 0.8, 60, 60, 60, 60),  # on one too large
        (1, 2, 0.7, 200, 100, 50, 50),  # too large itself, on nothing
    ]
    got = matrix_of([A, large], detections, ignore=[0])
    assert got.matrix.sum() == 0
    assert got.uncounted == 3


def test_images_do_not_mix():
    got = matrix_of([A], [(2, 0, 0.9, 10, 10, 20, 20)], images=2)
    assert got.matrix[0, 3] == 1
    assert got.matrix[3, 0] == 1


def test_regions_absorb_if_asked():
    annotations, detections = scene([A, (1, -1, 100, 100, 60, 60)], [(1, 0, 0.9, 110, 110, 9, 9)])
    plain = confusion_matrix(annotations, detections, SODA_D, score=0)
    kind = confusion_matrix(annotations, detections, SODA_D, score=0, ignore_regions="absorb")
    assert (plain.matrix[3, 0], kind.matrix[3, 0]) == (1, 0)
    assert kind.uncounted == 1


def by_loops(annotations, detections, score):
    """The definition again, image by image, upright boxes."""
    count = len(annotations.categories)
    matrix = np.zeros((count + 1, count + 1), int)
    counts = ~annotations.ignore & (annotations.area <= 1024)
    for index, image in enumerate(annotations.images):
        rows = np.flatnonzero((annotations.image_index == index) & ~annotations.is_region)
        mine = np.flatnonzero((detections.image_ids == image.id) & (detections.scores >= score))
        mine = mine[np.argsort(-detections.scores[mine], kind="stable")]
        overlap = iou(xywh_to_xyxy(detections.xywh[mine]), xywh_to_xyxy(annotations.xywh[rows]))
        free = np.ones(len(rows), bool)
        for d, row in enumerate(mine):
            fits = [g for g in range(len(rows)) if free[g] and overlap[d, g] >= 0.5]
            if fits:
                best = max(fits, key=lambda g: (counts[rows[g]], overlap[d, g], g))
                free[best] = False
                if counts[rows[best]]:
                    matrix[annotations.labels[rows[best]], detections.labels[row]] += 1
            elif detections.xywh[row, 2:].prod() <= 1024:
                matrix[count, detections.labels[row]] += 1
        for g in np.flatnonzero(free & counts[rows]):
            matrix[annotations.labels[rows[g]], count] += 1
    return matrix


@pytest.mark.parametrize("seed", range(8))
def test_by_loops(seed):
    case = random_case(seed, decimals=2)
    got = confusion_matrix(*case, SODA_D, score=0.3)
    assert np.array_equal(got.matrix, by_loops(*case, 0.3))


@pytest.mark.parametrize("oriented", [False, True])
def test_rows_and_columns_add_up(oriented):
    annotations, detections = random_case(11, oriented=oriented)
    got = confusion_matrix(annotations, detections, SODA_A if oriented else SODA_D, score=0.2)
    counted = ~annotations.ignore & (annotations.area <= 1024)
    objects = np.bincount(annotations.labels[counted], minlength=3)
    assert np.array_equal(got.matrix[:3].sum(axis=1), objects)
    shown = int((detections.scores >= 0.2).sum())
    assert got.matrix[:, :3].sum() + got.uncounted == shown
    assert got.uncounted > 0


def test_nothing_detected():
    annotations, _ = scene([A, B], [])
    got = confusion_matrix(annotations, Detections.empty(), SODA_D, score=0.5)
    assert got.matrix[:, 3].tolist() == [1, 1, 0, 0]
    assert json.loads(json.dumps(got.as_dict()))["matrix"][0] == [0, 0, 0, 1]


def test_thresholds_out_of_range():
    case = scene([A], [])
    with pytest.raises(UsageError, match="score 2"):
        confusion_matrix(*case, SODA_D, score=2)
    with pytest.raises(UsageError, match="IoU 0"):
        confusion_matrix(*case, SODA_D, score=0.5, iou=0)
