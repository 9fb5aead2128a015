"""Precision, recall and F1 by score: against a matching from scratch at every score."""

import json
from dataclasses import replace

import numpy as np
import pytest
from report_cases import random_case, scene

from sodkit.data.records import IGNORED
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.outcomes import match_classes, outcomes
from sodkit.evaluation.protocol import SODA_D, customise
from sodkit.evaluation.score_curves import SCORES, score_curves

OBJECT, SECOND = (1, 0, 10, 10, 20, 20), (1, 0, 60, 10, 20, 20)
RIGHT, SECOND_RIGHT = (10, 10, 20, 20), (60, 10, 20, 20)
WRONG = [(100, y, 20, 20) for y in (50, 100, 150)]


def curves_of(annotations, detections, protocol=SODA_D):
    matching = match_classes(annotations, detections, protocol)
    found = outcomes(annotations, detections, matching, protocol)
    positives = evaluate(annotations, detections, protocol).positives[:, 0]
    return score_curves(found, [c.name for c in annotations.categories], positives)


def iou(a, b):
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(across, 0) * max(down, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def count_slowly(annotations, detections, protocol, label, score):
    """Count objects, right and wrong detections of a class, with none below the score there."""
    limit = next(metric.max_dets for metric in protocol.metrics if metric.kind == "AP")
    high = protocol.areas[0].high
    right = wrong = 0
    counting = ~annotations.flagged(IGNORED) & (annotations.area <= high)
    for index, image in enumerate(annotations.images):
        objects = np.flatnonzero(
            (annotations.image_index == index) & (annotations.labels == label)
        ).tolist()
        mine = np.flatnonzero(
            (detections.image_ids == image.id)
            & (detections.labels == label)
            & (detections.scores >= score)
        )
        free = set(objects)
        for row in sorted(mine.tolist(), key=lambda row: -detections.scores[row])[:limit]:
            box = detections.xywh[row]
            fits = {g: iou(box, annotations.xywh[g]) for g in free}
            fits = {g: overlap for g, overlap in fits.items() if overlap >= 0.5}
            first = {g: overlap for g, overlap in fits.items() if counting[g]} or fits
            if first:
                best = max(first, key=lambda g: (first[g], g))
                free.remove(best)
                right += bool(counting[best])
            else:
                wrong += bool(box[2] * box[3] <= high)
    return int((counting & (annotations.labels == label)).sum()), right, wrong


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("protocol", [SODA_D, customise(SODA_D, "few", max_dets=(3,))])
def test_counts_are_those_of_a_matching_from_scratch(seed, protocol):
    case = random_case(seed, classes=2, images=3, objects=8, decimals=2)
    curves = curves_of(*case, protocol)
    for label, curve in enumerate(curves.per_class.values()):
        for place in range(0, 101, 5):
            expected = count_slowly(*case, protocol, label, SCORES[place])
            got = (curve.objects, curve.found[place], curve.false[place])
            assert got == expected
        scores = np.unique(case[1].scores)
        slow = {s: count_slowly(*case, protocol, label, s) for s in scores}
        f1 = {s: 2 * tp / (tp + fp + g) for s, (g, tp, fp) in slow.items()}
        best = max(scores, key=lambda s: (f1[s], s))
        if curve.best is None:
            assert f1[best] == 0
            continue
        objects, right, wrong = slow[best]
        assert curve.best.score == best
        assert curve.best.f1 == pytest.approx(f1[best], abs=1e-15)
        assert curve.best.precision == right / (right + wrong)
        assert curve.best.recall == right / objects


def test_all_classes_are_the_sum_of_each():
    case = random_case(4, decimals=2)
    curves = curves_of(*case)
    own = list(curves.per_class.values())
    assert np.array_equal(curves.everything.found, sum(one.found for one in own))
    assert np.array_equal(curves.everything.false, sum(one.false for one in own))
    assert curves.everything.objects == sum(one.objects for one in own)
    f1 = {
        score: 2 * tp / (tp + fp + curves.everything.objects)
        for score, tp, fp in zip(
            SCORES, curves.everything.found, curves.everything.false, strict=True
        )
    }
    assert curves.everything.best.score == max(f1, key=lambda s: (f1[s], s))  # two decimals


def test_f1_is_the_harmonic_mean():
    curve = curves_of(*random_case(2, decimals=2)).everything
    both = curve.found > 0
    precision, recall = curve.precision[both], curve.recall[both]
    assert np.allclose(curve.f1[both], 2 / (1 / precision + 1 / recall), atol=1e-15)


@pytest.mark.parametrize(
    ("objects", "detections", "best"),
    [
        ([OBJECT], [(0.9, RIGHT), (0.8, WRONG[0])], 0.9),
        ([OBJECT], [(0.9, RIGHT), (0.9, WRONG[0])], 0.9),  # equal scores stand or fall together
        ([OBJECT], [(0.9, WRONG[0]), (0.9, WRONG[1]), (0.5, RIGHT)], 0.5),
        # F1 2 / 3 at .9 (one of two), 2 / 3 at .5 (two of four, two wrong): the highest
        (
            [OBJECT, SECOND],
            [(0.9, RIGHT), (0.8, WRONG[0]), (0.7, WRONG[1]), (0.5, SECOND_RIGHT)],
            0.9,
        ),
    ],
)
def test_of_scores_with_equal_f1_the_highest_is_best(objects, detections, best):
    case = scene(objects, [(1, 0, score, *box) for score, box in detections])
    curves = curves_of(*case)
    assert curves.best == {"class 0": best}
    assert curves.everything.best.score == best


def test_what_is_undefined():
    objects, detections = [OBJECT], [(1, 0, 0.5, *RIGHT), (1, 1, 0.7, *WRONG[0])]
    curves = curves_of(*scene(objects, detections))
    first, without_objects, nothing = curves.per_class.values()
    assert np.isnan(first.precision).tolist() == (SCORES > 0.5).tolist()
    assert first.recall.tolist() == (SCORES <= 0.5).tolist()
    assert not without_objects.precision[SCORES <= 0.7].any()
    assert np.isnan([without_objects.recall, without_objects.f1, nothing.f1]).all()
    assert (without_objects.best, nothing.best) == (None, None)
    assert curves.best == {"class 0": 0.5}
    data = json.loads(json.dumps(curves.as_dict(), allow_nan=False))
    assert data["per_class"]["class 1"]["f1"] == [None] * 101
    assert data["per_class"]["class 0"]["best"] == {
        "score": 0.5, "precision": 1, "recall": 1, "f1": 1,
    }  # fmt: skip


def test_nothing_at_all():
    annotations, detections = scene([], [], classes=2)
    curves = curves_of(annotations, detections)
    assert curves.everything.best is None
    none = curves_of(replace(annotations, categories=()), detections)
    assert none.per_class == {}
    assert none.everything.objects == 0
