"""A run with its pictures, from the first batch to the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from sodkit.config import load_recipe
from sodkit.data.formats import read_annotations
from sodkit.data.images.decoding import read_image
from sodkit.data.predictions.storage import read_predictions
from sodkit.engine.paths import DataPaths
from sodkit.engine.training_run import RunPlan, resumed_plan
from sodkit.errors import MissingExtraError
from sodkit.synthetic import make_dataset
from sodkit.viz.training import run_training

SMALL = (
    "model.fpn.channels=16", "model.roi.hidden=16", "input.patch=128", "input.stride=128",
    "schedule.batch=2", "schedule.epochs=1", "keep.score=0.0", "keep.max_per_patch=5",
)  # fmt: skip


def test_a_run_leaves_pictures_predictions_and_a_report(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", images=3, seed=0, width=128, height=128)
    run = tmp_path / "run"
    paths = DataPaths(data, val=str(data))
    plan = RunPlan(load_recipe("cfinet-r18-demo", SMALL), paths, str(run), resume=False)
    last = run_training(plan, device="cpu", workers=0, threads=1)
    assert last["epoch"] == 1
    first = (run / "batches.jpg").read_bytes()
    assert read_image(run / "batches.jpg").shape[1] > 256
    found = read_predictions(run / "validation.npz", read_annotations(data))
    assert len(found.scores) == 15
    report = (run / "report.html").read_text("utf-8")
    assert "Which class is taken for which" in report
    again = resumed_plan(run, ["schedule.epochs=2"], out=None)
    run_training(again, device="cpu", workers=0, threads=1)
    assert (run / "batches.jpg").read_bytes() == first
    assert (run / "report.html").read_text("utf-8") != report


def test_what_cannot_be_logged_to_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    paths = DataPaths(str(tmp_path / "none.json"))
    plan = RunPlan(load_recipe("cfinet-r18-demo"), paths, tmp_path / "run", resume=False)
    with pytest.raises(MissingExtraError):
        run_training(plan, sinks=("wandb",))
    assert not (tmp_path / "run").exists()
