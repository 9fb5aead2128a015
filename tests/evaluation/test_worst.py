"""Worst images: counted at a score, ranked by errors or by F1."""

import numpy as np
import pytest
from report_cases import random_case, scene

from sodkit.evaluation.outcomes import match_classes, outcomes
from sodkit.evaluation.protocol import SODA_D
from sodkit.evaluation.worst import ImageCounts, class_errors, count_by_image, worst_images


def counts_of(annotations, detections, score):
    matching = match_classes(annotations, detections, SODA_D)
    found = outcomes(annotations, detections, matching, SODA_D)
    return count_by_image(found, annotations.image_index, len(annotations.images), score)


def test_counts_by_hand():
    objects = [(1, 0, 10, 10, 20, 20), (1, 0, 60, 10, 20, 20), (3, 1, 10, 10, 20, 20)]
    detections = [
        (1, 0, 0.9, 10, 10, 20, 20),
        (1, 0, 0.2, 60, 10, 20, 20),  # below the score: its object is missed
        (2, 0, 0.6, 10, 10, 20, 20),
        (3, 0, 0.6, 10, 10, 20, 20),  # wrong class: a false alarm and a miss
    ]
    got = counts_of(*scene(objects, detections, images=3), 0.5)
    assert got.found.tolist() == [1, 0, 0]
    assert got.missed.tolist() == [1, 0, 1]
    assert got.false.tolist() == [0, 1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_leaving_out_low_scores_before_matching_changes_nothing(seed):
    annotations, detections = random_case(seed)
    high = detections.take(detections.scores >= 0.4)
    late, early = counts_of(annotations, detections, 0.4), counts_of(annotations, high, 0)
    for name in ("found", "missed", "false"):
        assert np.array_equal(getattr(late, name), getattr(early, name))


def test_rankings():
    counts = ImageCounts(
        found=np.array([9, 0, 5, 7]), missed=np.array([2, 1, 3, 0]), false=np.array([2, 0, 1, 0])
    )
    by_errors = worst_images(counts, 9)
    assert [one.index for one in by_errors] == [2, 0, 1]  # 4 errors each: the lower F1 first
    assert [one.index for one in worst_images(counts, 9, by="f1")] == [1, 2, 0]
    assert [one.index for one in worst_images(counts, 1)] == [2]
    assert by_errors[0].f1 == 10 / 14
    assert worst_images(counts, 0) == ()


def test_an_image_without_errors_is_not_among_the_worst():
    perfect = scene([(1, 0, 10, 10, 20, 20)], [(1, 0, 0.9, 10, 10, 20, 20)], images=2)
    assert worst_images(counts_of(*perfect, 0.5), 5) == ()


@pytest.mark.parametrize("seed", range(3))
def test_errors_of_each_class(seed):
    annotations, detections = random_case(seed, decimals=2)
    matching = match_classes(annotations, detections, SODA_D)
    found = outcomes(annotations, detections, matching, SODA_D)
    counts = count_by_image(found, annotations.image_index, len(annotations.images), 0.4)
    for index in range(len(annotations.images)):
        errors = class_errors(found, annotations, index, 0.4)
        assert sum(one.missed for one in errors) == counts.missed[index]
        assert sum(one.false for one in errors) == counts.false[index]
        total = [one.missed + one.false for one in errors]
        assert total == sorted(total, reverse=True)
        for one in errors:
            mine = (found.image == index) & (found.label == one.label) & found.wrong
            scores = [score for score in found.score[mine] if score >= 0.4]
            assert (one.false, one.score) == (len(scores), max(scores, default=None))
            mine = (found.image == index) & (found.label == one.label) & found.right
            objects = annotations.take(found.object[found.counts])
            same = (objects.image_index == index) & (objects.labels == one.label)
            assert one.missed == same.sum() - (found.score[mine] >= 0.4).sum()
