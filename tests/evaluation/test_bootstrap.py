"""Reweighted metrics equal those of data that really hold the copies."""

from dataclasses import replace

import numpy as np
import pytest
from report_cases import random_case

from sodkit.evaluation.bootstrap import draw_images, resampled_metrics
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.outcomes import image_order, match_classes
from sodkit.evaluation.protocol import COCO, SODA_A, SODA_D, customise

FEW = customise(SODA_D, "few", max_dets=(2, 3, 9))


def with_copies(annotations, detections, weights):
    """Data with ``weights[rank]`` copies of each image, next to each other in the order of ids."""
    order = image_order(annotations)
    images, truth, found, index, ids = [], [], [], [], []
    for rank, old in enumerate(order):
        record = annotations.images[old]
        for copy in range(weights[rank]):
            new = rank * 100 + copy
            rows = np.flatnonzero(annotations.image_index == old)
            mine = np.flatnonzero(detections.image_ids == record.id)
            truth.append(rows)
            index.append(np.full(len(rows), len(images)))
            found.append(mine)
            ids.append(np.full(len(mine), new))
            images.append(replace(record, id=new))
    rows = np.concatenate(truth).astype(np.int64)
    copied = replace(
        annotations.take(rows),
        images=tuple(images),
        image_index=np.concatenate(index).astype(np.int64),
    )
    chosen = detections.take(np.concatenate(found).astype(np.int64))
    return copied, replace(chosen, image_ids=np.concatenate(ids).astype(np.int64))


def vector(evaluation):
    return np.array([np.nan if v is None else v for v in evaluation.metrics.values()])


@pytest.mark.parametrize("rule", ["drop", "absorb"])
@pytest.mark.parametrize(
    ("protocol", "oriented"),
    [(SODA_D, False), (FEW, False), (COCO, False), (SODA_A, True)],
    ids=lambda value: getattr(value, "name", value),
)
@pytest.mark.parametrize("seed", range(4))
def test_equals_evaluation_of_copies(seed, protocol, oriented, rule):
    annotations, detections = random_case(seed, images=5, oriented=oriented)
    matching = match_classes(annotations, detections, protocol, ignore_regions=rule)
    weights = draw_images(5, 6, seed)
    got = resampled_metrics(matching, detections.scores, protocol, weights)
    for row, weight in zip(got, weights, strict=True):
        case = with_copies(annotations, detections, weight)
        assert np.array_equal(
            row, vector(evaluate(*case, protocol, ignore_regions=rule)), equal_nan=True
        )


def test_weights_of_one_give_the_evaluation_itself():
    annotations, detections = random_case(9, images=7)
    matching = match_classes(annotations, detections, SODA_D)
    ones = np.ones((1, 7), np.int32)
    got = resampled_metrics(matching, detections.scores, SODA_D, ones)
    assert np.array_equal(got[0], vector(evaluate(annotations, detections, SODA_D)), equal_nan=True)


def test_ties_inside_an_image_are_repeated_copy_by_copy():
    """All scores are 0 or 1: hits and false alarms of an image alternate with its copies."""
    annotations, detections = random_case(2, images=3, decimals=0)
    matching = match_classes(annotations, detections, SODA_D)
    weights = np.array([[3, 0, 2]], np.int32)
    got = resampled_metrics(matching, detections.scores, SODA_D, weights)
    case = with_copies(annotations, detections, weights[0])
    assert np.array_equal(got[0], vector(evaluate(*case, SODA_D)), equal_nan=True)


def test_an_undefined_metric_is_nan():
    annotations, detections = random_case(1, images=4)
    matching = match_classes(annotations, detections, SODA_D)
    empty = np.zeros((1, 4), np.int32)
    empty[0, np.flatnonzero(image_order(annotations) == 3)] = 4  # the image without anything true
    assert np.isnan(resampled_metrics(matching, detections.scores, SODA_D, empty)).all()


def test_draws_are_seeded_and_complete():
    weights = draw_images(50, 200, 3)
    assert np.array_equal(weights, draw_images(50, 200, 3))
    assert not np.array_equal(weights, draw_images(50, 200, 4))
    assert (weights.sum(axis=1) == 50).all()
    assert 0.6 < (weights > 0).mean() < 0.67  # 1 - (1 - 1/50)**50 = .636


def test_progress_counts_up_to_the_end():
    annotations, detections = random_case(1, images=4)
    matching = match_classes(annotations, detections, SODA_D)
    calls = []
    resampled_metrics(
        matching,
        detections.scores,
        SODA_D,
        draw_images(4, 5, 0),
        lambda done, total: calls.append((done, total)),
    )
    assert calls == [(k, 5) for k in range(1, 6)]
