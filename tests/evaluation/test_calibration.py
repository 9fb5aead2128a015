"""Calibration: against a sum over the detections, and of scores that are made to fit."""

import json

import numpy as np
import pytest
from report_cases import random_case, scene

from sodkit.evaluation.calibration import calibration
from sodkit.evaluation.outcomes import match_classes, outcomes
from sodkit.evaluation.protocol import SODA_D


def outcomes_of(annotations, detections):
    matching = match_classes(annotations, detections, SODA_D)
    return outcomes(annotations, detections, matching, SODA_D)


@pytest.mark.parametrize("seed", range(4))
def test_against_a_slow_sum(seed):
    found = outcomes_of(*random_case(seed, decimals=2))
    bins = [[] for _ in range(10)]
    for score, right, wrong in zip(found.score, found.right, found.wrong, strict=True):
        if right or wrong:
            tenth = min(int(str(round(score * 100)).zfill(3)[:-1]), 9)  # .57 -> "057" -> 5
            bins[tenth].append((score, bool(right)))
    got = calibration(found)
    assert [one.count for one in got.bins] == [len(one) for one in bins]
    error = 0.0
    for one, own in zip(got.bins, bins, strict=True):
        score, right = np.mean(own, axis=0)
        assert (one.score, one.right) == (pytest.approx(score), pytest.approx(right))
        assert one.low <= one.score <= one.high
        error += len(own) / sum(map(len, bins)) * abs(score - right)
    assert got.error == pytest.approx(error)


def test_by_hand():
    objects = [(1, 0, 10, 10, 20, 20), (1, 0, 60, 10, 20, 20)]
    detections = [
        (1, 0, 1.0, 10, 10, 20, 20),
        (1, 0, 0.3, 60, 10, 20, 20),
        (1, 0, 0.3, 100, 100, 20, 20),
        (1, 0, 0.8, 100, 10, 80, 80),  # too large to count
    ]
    got = calibration(outcomes_of(*scene(objects, detections)))
    assert [one.count for one in got.bins] == [0, 0, 0, 2, 0, 0, 0, 0, 0, 1]
    assert (got.bins[3].score, got.bins[3].right) == (pytest.approx(0.3), 0.5)
    assert (got.bins[9].score, got.bins[9].right) == (1.0, 1.0)
    assert (got.bins[0].score, got.bins[0].right) == (None, None)
    assert got.error == pytest.approx((2 * 0.2 + 0) / 3)


def test_without_detections():
    got = calibration(outcomes_of(*scene([(1, 0, 10, 10, 20, 20)], [])))
    assert got.error is None
    assert json.loads(json.dumps(got.as_dict()))["bins"][0] == {
        "low": 0, "high": 0.1, "detections": 0, "mean_score": None, "right": None,
    }  # fmt: skip
