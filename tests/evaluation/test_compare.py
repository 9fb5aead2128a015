"""Runs side by side: paired intervals, and what cannot be compared."""

import json

import numpy as np
import pytest
from report_cases import random_case, scene

from sodkit.data.records import Detections
from sodkit.errors import UsageError
from sodkit.evaluation.bootstrap import draw_images, resampled_metrics
from sodkit.evaluation.compare import Interval, Run, compare
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.outcomes import match_classes
from sodkit.evaluation.protocol import COCO, SODA_D


def run(name, annotations, detections, protocol=SODA_D):
    return Run(name, detections, evaluate(annotations, detections, protocol))


@pytest.fixture(scope="module")
def case():
    annotations, detections = random_case(4, images=12, decimals=2)
    half = detections.take(np.arange(len(detections)) % 2 == 0)
    return annotations, [run("all", annotations, detections), run("half", annotations, half)]


def test_values_and_differences(case):
    annotations, (every, half) = case
    got = compare(annotations, [every, half], resamples=50)
    assert got.values["half"] == half.evaluation.metrics
    for metric in got.metrics:
        change = half.evaluation.metrics[metric] - every.evaluation.metrics[metric]
        assert got.differences["half"][metric] == change
        assert got.differences["all"][metric] == 0
    interval = got.intervals["all"]["AP"]
    assert interval.low < got.values["all"]["AP"] < interval.high
    assert got.difference_intervals["all"]["AP"].low is None


def test_intervals_are_quantiles_of_the_resamples(case):
    annotations, runs = case
    got = compare(annotations, runs, resamples=80, seed=7)
    weights = draw_images(len(annotations.images), 80, 7)
    samples = []
    for one in runs:
        matching = match_classes(annotations, one.detections, SODA_D)
        samples.append(resampled_metrics(matching, one.detections.scores, SODA_D, weights))
    low, high = np.quantile(samples[1][:, 0], [0.025, 0.975])
    assert got.intervals["half"]["AP"].low == pytest.approx(low)
    assert got.intervals["half"]["AP"].high == pytest.approx(high)
    low, high = np.quantile((samples[1] - samples[0])[:, 0], [0.025, 0.975])
    assert got.difference_intervals["half"]["AP"].low == pytest.approx(low)
    assert got.difference_intervals["half"]["AP"].high == pytest.approx(high)


def test_a_run_does_not_differ_from_itself(case):
    annotations, (every, _) = case
    twin = Run("twin", every.detections, every.evaluation)
    apart = compare(annotations, [every, twin], resamples=30).difference_intervals["twin"]
    assert {(one.low, one.high) for one in apart.values()} == {(0.0, 0.0)}
    assert not any(one.excludes_zero for one in apart.values())


def test_losing_half_of_the_detections_is_a_sure_loss(case):
    annotations, runs = case
    apart = compare(annotations, runs, resamples=200).difference_intervals["half"]
    assert apart["AR@1000"].excludes_zero
    assert apart["AR@1000"].high < 0


def test_the_seed_decides(case):
    annotations, runs = case
    first, again = (compare(annotations, runs, resamples=20, seed=1) for _ in range(2))
    other = compare(annotations, runs, resamples=20, seed=2)
    assert first.as_dict() == again.as_dict()
    assert first.intervals["all"] != other.intervals["all"]


def test_without_resamples_there_are_no_intervals(case):
    annotations, runs = case
    got = compare(annotations, runs, resamples=0)
    assert got.intervals["all"]["AP"].low is None
    assert got.values["all"]["AP"] is not None


def test_as_dict_is_json(case):
    annotations, runs = case
    got = compare(annotations, runs, resamples=5)
    data = json.loads(json.dumps(got.as_dict(), allow_nan=False))
    assert data["reference"] == "all"
    assert set(data["runs"]["all"]["AP"]) == {"value", "low", "high"}
    assert data["runs"]["half"]["AP"]["difference"] < 0


def test_undefined_stays_undefined():
    annotations, detections = scene([(1, 0, 10, 10, 20, 20)], [(1, 0, 0.9, 10, 10, 20, 20)])
    one, two = (run(name, annotations, detections) for name in "ab")
    got = compare(annotations, [one, two], resamples=3)
    assert got.values["a"]["AP_eS"] is None
    assert got.intervals["a"]["AP_eS"].low is None
    assert got.differences["b"]["AP_eS"] is None


def test_no_images_and_no_detections():
    annotations, _ = scene([], [], images=0)
    got = compare(annotations, [run("a", annotations, Detections.empty())], resamples=10)
    assert got.resamples == 0
    for images, wanted in ((1, (None, None)), (2, (0, 0))):  # of one image there is one draw only
        objects = [(k + 1, 0, 10, 10, 20, 20) for k in range(images)]
        annotations, _ = scene(objects, [], images=images)
        got = compare(annotations, [run("a", annotations, Detections.empty())], resamples=10)
        assert (got.intervals["a"]["AP"].low, got.intervals["a"]["AP"].high) == wanted


def test_progress_covers_all_runs(case):
    annotations, runs = case
    calls = []
    compare(annotations, runs, resamples=4, progress=lambda *call: calls.append(call))
    assert calls == [(k, 8) for k in range(1, 9)]


def test_what_cannot_be_compared(case):
    annotations, (every, _) = case
    with pytest.raises(UsageError, match="no run"):
        compare(annotations, [])
    with pytest.raises(UsageError, match="two runs are named 'all'"):
        compare(annotations, [every, every])
    coco = run("coco", annotations, every.detections, COCO)
    with pytest.raises(UsageError, match="different protocols"):
        compare(annotations, [every, coco])
    with pytest.raises(UsageError, match="-1 resamples"):
        compare(annotations, [every], resamples=-1)
    with pytest.raises(UsageError, match="seed -1"):
        compare(annotations, [every], seed=-1)


@pytest.mark.parametrize(
    ("low", "high", "sure"),
    [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0, 0.1, False), (-0.1, 0, False)],
)
def test_a_difference_is_sure_if_zero_lies_outside(low, high, sure):
    assert Interval(low, high).excludes_zero is sure


def test_an_interval_of_nothing_is_sure_of_nothing():
    assert not Interval(None, None).excludes_zero


def test_as_dict_has_every_number(case):
    annotations, runs = case
    got = compare(annotations, runs, resamples=6, seed=3)
    data = got.as_dict()
    assert (data["confidence"], data["resamples"], data["seed"]) == (0.95, 6, 3)
    entry = data["runs"]["half"]["AP_rS"]
    own, apart = got.intervals["half"]["AP_rS"], got.difference_intervals["half"]["AP_rS"]
    assert entry == {
        "value": got.values["half"]["AP_rS"], "low": own.low, "high": own.high,
        "difference": got.differences["half"]["AP_rS"],
        "difference_low": apart.low, "difference_high": apart.high,
    }  # fmt: skip
