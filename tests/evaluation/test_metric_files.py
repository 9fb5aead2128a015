"""Metrics as files: the numbers of the evaluation, an empty cell where there is none."""

import csv
import json

import pytest
from report_cases import random_case

from sodkit.evaluation.compare import Run, compare
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.metric_files import comparison_data, write_metrics
from sodkit.evaluation.protocol import SODA_D


@pytest.fixture(scope="module")
def result():
    annotations, detections = random_case(4, images=4, decimals=2)
    return annotations, detections, evaluate(annotations, detections, SODA_D)


def test_both_files_hold_the_same_numbers(result, tmp_path):
    *_, evaluation = result
    write_metrics(tmp_path / "new", evaluation.as_dict(), {"mine": evaluation})
    data = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert data["schema_version"] == 1
    assert data["metrics"] == evaluation.metrics
    rows = list(csv.DictReader((tmp_path / "new" / "per_class.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == list(evaluation.classes)
    assert {row["predictions"] for row in rows} == {"mine"}
    for row in rows:
        for name, value in data["per_class"][row["class"]].items():
            assert row[name] == ("" if value is None else repr(value))


def test_without_evaluations_there_is_no_table(tmp_path):
    write_metrics(tmp_path, {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_a_comparison_holds_runs_and_differences(result):
    annotations, detections, evaluation = result
    runs = [Run(name, detections, evaluation) for name in ("a", "b")]
    data = comparison_data(runs, compare(annotations, runs, resamples=5))
    assert data["protocol"] == "soda-d"
    assert data["runs"]["b"] == evaluation.as_dict()
    assert data["comparison"]["runs"]["b"]["AP"]["difference"] == 0
