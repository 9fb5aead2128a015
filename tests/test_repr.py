"""What the public data show of themselves: one line with counts, whatever their size."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import sodkit
from sodkit.analysis.object_states import ObjectStates
from sodkit.analysis.proposal_study import ProposalStudy
from sodkit.data.sizes import size_index
from sodkit.engine.checkpoint import Checkpoint
from sodkit.engine.reports import StartReport
from sodkit.models.zoo import build

HOLDERS = ("Annotations", "Detections")
"""Their fields are arrays that users ask for."""


def test_data_show_as_one_line_with_counts(tmp_path: Path) -> None:
    file = sodkit.make_dataset(tmp_path / "data", images=2, seed=0, width=256, height=200)
    truth = sodkit.read_annotations(file)
    found = sodkit.Detections(
        truth.image_index[:1] + 1,
        truth.labels[:1].clip(0),
        truth.area[:1] * 0 + 0.5,
        truth.xywh[:1],
    )
    recipe = sodkit.load_recipe("cfinet-r18-demo")
    report = sodkit.split_dataset(
        truth, tmp_path / "data", tmp_path / "patches", sodkit.SplitSettings(size=128, stride=128)
    )
    counted = int((~truth.ignore).sum())
    shown = {
        repr(truth): f"2 images, {counted} objects, {len(truth) - counted} ignored, ",
        repr(found): "1 in 1 images, horizontal",
        repr(sodkit.evaluate(truth, found, sodkit.protocol_for("horizontal"))): "1 detections",
        repr(sodkit.analyze_anchors(truth, recipe)): "AnchorQuality of cfinet-r18-demo",
        repr(report): f"2 images, {report.patches} patches; objects: {report.total('whole')} whole",
        repr(Checkpoint(build(recipe.model, 2), recipe, truth.categories)): "cfinet-r18-demo",
    }
    for text, part in shown.items():
        assert part in text
        assert "\n" not in text
        assert len(text) < 160


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the public functions return of six images and their objects as detections."""
    folder = tmp_path_factory.mktemp("data")
    truth = sodkit.read_annotations(
        sodkit.make_dataset(folder, images=6, seed=0, width=256, height=200)
    )
    rows = truth.take(~truth.is_region)
    found = sodkit.Detections(rows.image_index + 1, rows.labels, rows.area * 0 + 0.5, rows.xywh)
    protocol = sodkit.protocol_for("horizontal")
    run = sodkit.Run("<a>", found, sodkit.evaluate(truth, found, protocol))
    method = sodkit.Method("<m>", (run,))
    return {
        "truth": truth,
        "run": run,
        "method": method,
        "study": sodkit.study(run.evaluation, truth, found, resamples=2),
        "comparison": sodkit.compare(truth, [run], resamples=2),
        "methods": sodkit.compare_methods(truth, [method], resamples=2),
        "proposals": sodkit.evaluate_proposals(truth, found, protocol),
        "recipe": sodkit.load_recipe("cfinet-r18-demo"),
        "folder": folder,
    }


def results_in(value: Any) -> list[Any]:
    """Return a result of ours and those that its fields hold, however deep."""
    if isinstance(value, tuple | list):
        return [one for part in value for one in results_in(part)]
    if isinstance(value, dict):
        return results_in(list(value.values()))
    if isinstance(value, sodkit.Recipe):
        return [value]
    if not is_dataclass(value):
        return []
    if type(value).__name__ in HOLDERS:
        return [value]
    return [value, *results_in([getattr(value, one.name) for one in fields(value)])]


def assert_lines(value: Any) -> set[str]:
    """Each result in it shows as one short line without arrays; return their types' names."""
    found = results_in(value)
    for one in found:
        text = repr(one)
        assert "\n" not in text
        assert not re.search(r"array\(|tensor\(|mappingproxy|\.{3}", text), text
        assert len(text) < 240, text
    return {type(one).__name__ for one in found}


def test_evaluations_show_as_one_line(measured: dict[str, Any]) -> None:
    seen = assert_lines([one for name, one in measured.items() if name != "recipe"])
    assert {
        "Run", "Method", "MethodStudy", "Study", "Outcomes", "Tide", "ScoreCurves", "ScoreCurve",
        "Calibration", "Confusion", "Comparison", "MethodComparison", "ProposalEvaluation",
        "Protocol", "Curves", "Evaluation",
    } <= seen  # fmt: skip
    count = int(measured["study"].outcomes.right.sum())
    assert f"{count} right and 0 wrong" in repr(measured["study"])
    assert repr(measured["run"]).startswith("<Run <a>: ")
    assert repr(measured["recipe"]) == "<Recipe cfinet-r18-demo: cfinet, horizontal, 4 epochs>"


def test_the_rest_shows_as_one_line(measured: dict[str, Any]) -> None:
    truth, recipe = measured["truth"], measured["recipe"]
    objects = truth.take(~truth.ignore)
    size = size_index(objects.area)
    states = ObjectStates(("no anchor", "found"), (size > 1).astype(int), size)
    boxes = torch.zeros(300, 4)
    target = sodkit.Target(boxes, boxes[:, 0].long(), boxes[:2])
    start = StartReport(
        recipe, torch.device("cpu"), measured["folder"], 6, 99, 2, 0, 3, categories=truth.categories
    )
    seen = assert_lines(
        [
            sodkit.suggest_settings(truth, recipe),
            sodkit.find_targets([measured["folder"] / "images"], truth.categories),
            sodkit.check_dataset(measured["folder"] / "train.json"),
            sodkit.Studied("a", ProposalStudy(300, measured["proposals"], states, 2)),
            sodkit.Batch(torch.zeros(2, 3, 64, 96), ((64, 96),) * 2, ((1.0, 1.0),) * 2, (target,)),
            sodkit.PatchDetections(boxes, boxes[:, 0], boxes[:, 0].long()),
            sodkit.StepReport(0, 1, 3, 9, {"loss": 1.25}, 0.1, positives=boxes),
            start,
        ]
    )
    assert {"Suggestion", "Meeting", "Targets", "CheckReport", "Profile", "StepReport"} <= seen
    assert {"Studied", "ProposalStudy", "ObjectStates", "Batch", "Target", "StartReport"} <= seen


def test_a_notebook_shows_tables_with_the_numbers(measured: dict[str, Any]) -> None:
    run, proposals = measured["run"], measured["proposals"]
    value = format(run.evaluation.metrics["AP"], ".4f")
    for name, head in (("comparison", "<th>&lt;a&gt;</th>"), ("methods", "&lt;m&gt; (1)")):
        page = measured[name]._repr_html_()
        assert head in page
        assert f"<td>AP</td><td>{value}</td>" in page
    row = [proposals.objects["eS"], *(f"{one:.3f}" for one in proposals.recall["eS"].values())]
    assert "".join(f"<td>{one}</td>" for one in ("eS", *row)) in proposals._repr_html_()
    quality = sodkit.analyze_anchors(measured["truth"], measured["recipe"])
    page = quality._repr_html_()
    assert page.count("<table>") == 3
    assert f"<td>all</td><td>{len(quality.iou)}</td><td>{quality.iou.mean():.3f}</td>" in page
    assert f"{quality.ignored} ignored" in page
