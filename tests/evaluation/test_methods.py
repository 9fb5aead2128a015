"""Methods by several seeds: mean, spread, intervals over images and seeds."""

import json
from dataclasses import replace

import numpy as np
import pytest
from report_cases import random_case

from sodkit.errors import UsageError
from sodkit.evaluation.bootstrap import draw_images, resampled_metrics
from sodkit.evaluation.compare import Run, compare
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.methods import Method, compare_methods, drawn_means
from sodkit.evaluation.outcomes import match_classes
from sodkit.evaluation.protocol import COCO, SODA_D


def run(name, annotations, detections, protocol=SODA_D):
    return Run(name, detections, evaluate(annotations, detections, protocol))


@pytest.fixture(scope="module")
def case():
    """Two methods of three seeds: the second finds half as much."""
    annotations, detections = random_case(4, images=12, decimals=2)
    rng = np.random.default_rng(0)
    runs = []
    for seed in range(3):
        moved = detections.xywh + rng.normal(0, 1, detections.xywh.shape) * (1, 1, 0, 0)
        own = replace(detections, xywh=moved)
        half = own.take(np.arange(len(own)) % 2 == 0)
        runs.append((run(f"a{seed}", annotations, own), run(f"b{seed}", annotations, half)))
    first, second = zip(*runs, strict=True)
    return annotations, Method("all", first), Method("half", second)


def test_mean_and_spread_over_seeds(case):
    annotations, every, half = case
    got = compare_methods(annotations, [every, half], resamples=20)
    values = {m.name: [r.evaluation.metrics["AP"] for r in m.runs] for m in (every, half)}
    for name, study in got.methods.items():
        assert study.mean["AP"] == pytest.approx(np.mean(values[name]))
        assert study.spread["AP"] == pytest.approx(np.std(values[name], ddof=1))
        assert study.seeds == 3
    lost = np.mean(values["half"]) - np.mean(values["all"])
    assert got.methods["half"].difference["AP"] == pytest.approx(lost)
    assert got.methods["all"].difference["AP"] == 0
    assert got.methods["all"].difference_interval["AP"].low is None
    apart = got.methods["half"].difference_interval["AP"]
    assert apart.low < lost < apart.high
    json.dumps(got.as_dict(), allow_nan=False)


def test_one_seed_is_a_run_over_images_alone(case):
    annotations, every, half = case
    alone = [Method(m.name, m.runs[:1]) for m in (every, half)]
    got = compare_methods(annotations, alone, resamples=50, seed=3)
    runs = [Run(m.name, m.runs[0].detections, m.runs[0].evaluation) for m in alone]
    wanted = compare(annotations, runs, resamples=50, seed=3)
    for name, study in got.methods.items():
        assert study.interval == wanted.intervals[name]
        assert study.spread["AP"] is None
    assert got.methods["half"].difference_interval == wanted.difference_intervals["half"]


def test_twins_have_the_intervals_of_images_alone(case):
    """Seeds that do not differ add nothing."""
    annotations, every, _ = case
    one = every.runs[0]
    twins = tuple(Run(f"t{k}", one.detections, one.evaluation) for k in range(3))
    got = compare_methods(annotations, [Method("twins", twins)], resamples=40).methods["twins"]
    wanted = compare(annotations, [one], resamples=40)
    assert got.spread["AP"] == pytest.approx(0, abs=1e-12)
    assert got.interval["AP"].low == pytest.approx(wanted.intervals[one.name]["AP"].low)
    assert got.interval["AP"].high == pytest.approx(wanted.intervals[one.name]["AP"].high)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_drawn_seeds_vary_as_much_as_a_mean_of_seeds(count):
    """The standard error of a mean of n seeds is their spread over the root of n."""
    values = np.random.default_rng(count).normal(size=(count, 1, 1))
    sample = drawn_means(np.repeat(values, 20000, axis=1), np.random.default_rng(1))
    wanted = values.std(ddof=1) / np.sqrt(count)
    assert sample.std() == pytest.approx(wanted, rel=0.03)
    assert sample.mean() == pytest.approx(values.mean(), abs=4 * wanted / np.sqrt(20000))


def test_images_are_drawn_alike_for_all_seeds_and_methods(case):
    """A method against itself under another name: images cancel out, seeds do not."""
    annotations, every, _ = case
    one = every.runs[0]
    again = Method("again", (Run("again", one.detections, one.evaluation),))
    alone = Method("alone", (one,))
    got = compare_methods(annotations, [alone, again], resamples=30)
    assert got.methods["again"].difference_interval["AP"].low == 0
    assert got.methods["again"].difference_interval["AP"].high == 0
    seeds = compare_methods(annotations, [alone, every], resamples=200).methods["all"]
    assert seeds.difference_interval["AP"].low < seeds.difference_interval["AP"].high


def test_intervals_come_from_the_resamples_of_each_run(case):
    annotations, every, _ = case
    got = compare_methods(annotations, [every], resamples=60, seed=5).methods["all"]
    weights = draw_images(len(annotations.images), 60, 5)
    samples = np.stack([
        resampled_metrics(
            match_classes(annotations, r.detections, SODA_D), r.detections.scores, SODA_D, weights
        )
        for r in every.runs
    ])  # fmt: skip
    low, high = np.quantile(samples.mean(axis=0)[:, 0], [0.025, 0.975])
    wide = got.interval["AP"].high - got.interval["AP"].low
    assert wide > 0.9 * (high - low)
    assert got.interval["AP"].low < got.mean["AP"] < got.interval["AP"].high


def test_what_cannot_be_compared(case):
    annotations, every, half = case
    for methods, words in (
        ([], "no method to compare"),
        ([Method("none", ())], "needs predictions"),
        ([every, Method("all", half.runs)], "two methods are named 'all'"),
        ([every, Method("b", (run("b", annotations, half.runs[0].detections, COCO),))],
         "different protocols"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            compare_methods(annotations, methods, resamples=1)


def test_comparisons_show_as_one_line(case):
    annotations, every, half = case
    methods = compare_methods(annotations, [every, Method("half", half.runs[:2])], resamples=2)
    count = len(SODA_D.metrics)
    assert repr(methods) == (
        f"<MethodComparison: all (3 seeds), half (2 seeds); {count} metrics, 2 resamples>"
    )
    files = compare(annotations, [every.runs[0], half.runs[0]], resamples=2)
    assert repr(files) == f"<Comparison: a0, b0; {count} metrics, 2 resamples>"
