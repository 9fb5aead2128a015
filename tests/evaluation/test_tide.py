"""Error types: hand-made cases, a plain rewrite with loops as oracle, and what must always hold."""

from dataclasses import replace

import numpy as np
import pytest
from report_cases import random_case, scene

from sodkit.evaluation.outcomes import match_classes, outcomes
from sodkit.evaluation.protocol import SODA_A, SODA_D
from sodkit.evaluation.tide import (
    ERRORS,
    average_precision,
    find_errors,
    mean_average_precision,
    ranking_of,
    repair,
    without,
)
from sodkit.geometry.boxes import iou, xywh_to_xyxy
from sodkit.geometry.overlap import rotated_iou

RECALLS = np.array(SODA_D.recalls)
OBJECT = (1, 0, 100, 100, 20, 20)


def errors_of(annotations, detections, protocol=SODA_D):
    matching = match_classes(annotations, detections, protocol)
    found = outcomes(annotations, detections, matching, protocol)
    return found, find_errors(annotations, detections, found, protocol)


def only(tide):
    """The error types there are, with their counts."""
    return {name: count for name, count in tide.count.items() if count}


def near(value):
    return pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("detection", "errors", "gains"),
    [
        # on the object, another class: covered, so not missed
        ((1, 1, 0.9, 100, 100, 20, 20), {"classification": 1}, {"classification": 1}),
        # IoU 1/3 with the object
        ((1, 0, 0.9, 110, 100, 20, 20), {"localisation": 1}, {"localisation": 1}),
        # both: taking it away helps nothing, not asking for the object does (class 1 has none)
        ((1, 1, 0.9, 110, 100, 20, 20), {"both": 1, "missed": 1}, {"missed": 1}),
        # nothing near; class 0 keeps a false positive whatever is asked
        ((1, 0, 0.9, 10, 10, 20, 20), {"background": 1, "missed": 1}, {}),
        # IoU exactly .1 and exactly .5: the first is still near, the second a match
        ((1, 0, 0.9, 100, 100, 2, 20), {"localisation": 1}, {"localisation": 1}),
        ((1, 0, 0.9, 100, 100, 10, 20), {}, {}),
        ((1, 1, 0.9, 100, 100, 10, 20), {"classification": 1}, {"classification": 1}),
        ((1, 0, 0.9, 100, 100, 1.9, 20), {"background": 1, "missed": 1}, {}),
        ((1, 1, 0.9, 100, 100, 2, 20), {"both": 1, "missed": 1}, {"missed": 1}),
        ((1, 1, 0.9, 100, 100, 1.9, 20), {"background": 1, "missed": 1}, {"missed": 1}),
    ],
)
def test_one_object_one_detection(detection, errors, gains):
    _, tide = errors_of(*scene([OBJECT], [detection]))
    assert only(tide) == errors
    assert tide.ap == near(0.0 if errors else 1.0)
    for name in ERRORS:
        assert tide.gain[name] == near(gains.get(name, 0)), name


def test_nothing_found_is_all_missed():
    _, tide = errors_of(*scene([OBJECT, (1, 1, 10, 10, 9, 9)], []))
    assert only(tide) == {"missed": 2}
    assert (tide.ap, tide.gain["missed"]) == (0, 1)
    assert tide.gain_false_positives == 0
    assert tide.gain_false_negatives == 1


def test_duplicate_above_a_hit_costs_half():
    # The better-scored detection of the object is right, the second one is the duplicate; a second
    # object is found last, so the duplicate costs precision on the way to it.
    other = (1, 0, 10, 10, 20, 20)
    detections = [
        (1, 0, 0.9, 100, 100, 20, 20),
        (1, 0, 0.8, 101, 100, 20, 20),
        (1, 0, 0.7, 10, 10, 20, 20),
    ]
    found, tide = errors_of(*scene([OBJECT, other], detections))
    assert only(tide) == {"duplicate": 1}
    assert found.right.tolist() == [True, False, True]
    # precision 1 at 51 recall points, 2/3 at the other 50
    assert tide.ap == near((51 + 50 * 2 / 3) / 101)
    assert tide.gain["duplicate"] == near(1 - tide.ap)
    assert tide.gain_false_positives == near(1 - tide.ap)
    assert tide.gain_false_negatives == near(0)


def test_background_before_a_hit():
    detections = [(1, 0, 0.9, 10, 10, 20, 20), (1, 0, 0.8, 100, 100, 20, 20)]
    _, tide = errors_of(*scene([OBJECT], detections))
    assert only(tide) == {"background": 1}
    assert tide.ap == near(0.5)
    assert tide.gain["background"] == near(0.5)


def test_one_of_two_missed():
    _, tide = errors_of(*scene([OBJECT, (1, 0, 10, 10, 20, 20)], [(1, 0, 0.9, 100, 100, 20, 20)]))
    assert only(tide) == {"missed": 1}
    assert tide.gain["missed"] == near(50 / 101)


def test_only_the_best_of_two_errors_becomes_right():
    detections = [(1, 0, 0.6, 110, 100, 20, 20), (1, 0, 0.9, 100, 110, 20, 20)]
    annotations, rows = scene([OBJECT], detections)
    found, tide = errors_of(annotations, rows)
    assert only(tide) == {"localisation": 2}
    now = ranking_of(annotations, found)
    after = repair(annotations, found, now, tide.kind >= 0, tide.target)
    assert (after.right & after.keep).tolist() == [True, False]  # best first
    assert after.keep.tolist() == [True, False]
    assert tide.gain["localisation"] == near(1)


def test_an_error_on_a_found_object_is_taken_away():
    detections = [(1, 0, 0.9, 108, 100, 20, 20), (1, 0, 0.8, 100, 100, 20, 20)]
    annotations, rows = scene([OBJECT], detections)
    found, tide = errors_of(annotations, rows)
    assert only(tide) == {"localisation": 1}
    after = repair(annotations, found, ranking_of(annotations, found), tide.kind >= 0, tide.target)
    assert after.keep.tolist() == [False, True]
    assert tide.gain["localisation"] == near(0.5)


def test_own_class_nearby_goes_before_another_class_on_the_spot():
    objects = [OBJECT, (1, 1, 112, 100, 20, 20)]  # IoU with the detection: 1/4 and 1
    _, tide = errors_of(*scene(objects, [(1, 0, 0.9, 112, 100, 20, 20)]))
    assert only(tide) == {"localisation": 1, "missed": 1}


def test_an_error_on_an_object_that_does_not_count_is_taken_away():
    objects = [(1, 0, 100, 100, 20, 20), (1, 0, 10, 10, 20, 20)]
    detections = [(1, 0, 0.9, 110, 100, 20, 20), (1, 0, 0.8, 10, 10, 20, 20)]
    _, tide = errors_of(*scene(objects, detections, ignore=[0]))
    assert only(tide) == {"localisation": 1}
    assert tide.ap == near(0.5)
    assert tide.gain["localisation"] == near(0.5)


def test_an_object_that_counts_is_preferred():
    objects = [(1, 0, 100, 100, 20, 20), (1, 0, 124, 100, 20, 20)]
    detection = (1, 0, 0.9, 111, 100, 20, 20)  # nearer to the ignored first
    _, tide = errors_of(*scene(objects, [detection], ignore=[0]))
    assert tide.target.tolist() == [1]
    assert tide.gain["localisation"] == near(1)


def test_detections_and_objects_of_other_sizes_are_no_errors():
    annotations, detections = scene(
        [OBJECT, (1, 0, 10, 10, 60, 60)],
        [(1, 0, 0.9, 100, 100, 20, 20), (1, 0, 0.8, 200, 200, 50, 50)],
    )
    _, tide = errors_of(annotations, detections)
    assert only(tide) == {}
    assert tide.ap == near(1)


def test_no_objects_at_all():
    _, tide = errors_of(*scene([], [(1, 0, 0.9, 100, 100, 20, 20)]))
    assert tide.ap is None
    assert set(tide.gain.values()) == {None}
    assert tide.gain_false_positives is None
    assert only(tide) == {"background": 1}
    assert tide.as_dict()["AP50"] is None


def types_by_loops(annotations, detections, found):
    """The definition again, detection by detection: types and annotations concerned."""
    ids = [image.id for image in annotations.images]
    counts = dict(zip(found.object, found.counts, strict=True))
    kinds, targets = [], []
    for k, row in enumerate(found.detection):
        if not found.wrong[k]:
            kinds.append(-1)
            targets.append(-1)
            continue
        image = ids.index(detections.image_ids[row])
        own, other = {}, {}
        for g in np.flatnonzero((annotations.image_index == image) & ~annotations.is_region):
            if annotations.obb is None:
                pair = (annotations.xywh[[g]], detections.xywh[[row]])
                overlap = iou(*(xywh_to_xyxy(box) for box in pair))[0, 0]
            else:
                overlap = rotated_iou(annotations.obb[[g]], detections.obb[[row]])[0, 0]
            same = annotations.labels[g] == detections.labels[row]
            (own if same else other)[g] = overlap
        best_own, best_other = max([0, *own.values()]), max([0, *other.values()])
        near = {}
        if 0.1 <= best_own < 0.5:
            kinds.append(ERRORS.index("localisation"))
            near = {g: overlap for g, overlap in own.items() if overlap >= 0.1}
        elif best_other >= 0.5:
            kinds.append(ERRORS.index("classification"))
            near = {g: overlap for g, overlap in other.items() if overlap >= 0.5}
        elif best_own >= 0.5:
            kinds.append(ERRORS.index("duplicate"))
        elif max(best_own, best_other) < 0.1:
            kinds.append(ERRORS.index("background"))
        else:
            kinds.append(ERRORS.index("both"))
        targets.append(max(near, key=lambda g: (counts[g], near[g])) if near else -1)
    return kinds, targets


CASES = [(seed, oriented) for seed in range(6) for oriented in (False, True)]


@pytest.mark.parametrize(("seed", "oriented"), CASES)
def test_types_by_loops(seed, oriented):
    case = random_case(seed, oriented=oriented)
    found, tide = errors_of(*case, SODA_A if oriented else SODA_D)
    kinds, targets = types_by_loops(*case, found)
    assert tide.kind.tolist() == kinds
    assert tide.target.tolist() == targets
    assert len(set(tide.kind.tolist())) == 6  # all types that detections can have, and none


@pytest.mark.parametrize(("seed", "oriented"), CASES)
def test_what_always_holds(seed, oriented):
    annotations, detections = random_case(seed, oriented=oriented)
    found, tide = errors_of(annotations, detections, SODA_A if oriented else SODA_D)
    by_detection = {name: count for name, count in tide.count.items() if name != "missed"}
    assert sum(by_detection.values()) == found.wrong.sum()
    assert all(gain >= -1e-12 for gain in tide.gain.values())
    for name in ("both", "duplicate", "background"):
        assert tide.gain_false_positives >= tide.gain[name] - 1e-12
    assert tide.gain_false_negatives >= tide.gain["missed"] - 1e-12
    assert tide.ap + tide.gain_false_positives <= 1
    unfound = np.isin(np.arange(len(found.object)), np.flatnonzero(found.counts & ~found.found))
    concerned = np.isin(found.object, tide.target)
    assert np.array_equal(tide.missed, unfound & ~concerned)


@pytest.mark.parametrize(("seed", "oriented"), CASES)
def test_all_errors_repaired_at_once_leave_nothing_to_gain(seed, oriented):
    annotations, detections = random_case(seed, oriented=oriented)
    found, tide = errors_of(annotations, detections, SODA_A if oriented else SODA_D)
    now = ranking_of(annotations, found)
    repaired = repair(annotations, found, now, tide.kind >= 0, tide.target)
    asked = without(annotations, found, now, tide.missed).positives
    perfect = mean_average_precision(replace(repaired, positives=asked), RECALLS)
    assert perfect == near(1)
    assert tide.ap < 0.9


def test_average_precision_by_hand():
    score = np.array([0.9, 0.8, 0.7])
    right = np.array([True, False, True])
    assert average_precision(score, right, 2, RECALLS) == near((51 + 50 * 2 / 3) / 101)
    assert average_precision(score[:0], right[:0], 2, RECALLS) == 0
    assert average_precision(score[:0], right[:0], 0, RECALLS) == 1
    assert average_precision(score[1:2], right[1:2], 0, RECALLS) == 0
