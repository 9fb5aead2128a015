"""benchmarks/systems.py: no recipe is forgotten, and a system runs and goes on."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sodkit.config import builtin_names, load_recipe
from sodkit.errors import TerminatedError
from sodkit.lock import lock_folder

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "systems.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("systems", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec.loader.exec_module(module)
    return module


def run(script: Any, monkeypatch: pytest.MonkeyPatch, out: Path, *more: str) -> None:
    arguments = ["--smoke", "--out", str(out), "--systems", "faster-rcnn-r50-soda-d"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments, *more])
    script.main()


def test_every_built_in_recipe_is_a_system_or_said_to_be_none(script: Any) -> None:
    both = script.systems("horizontal") + script.systems("oriented")
    assert sorted([*both, *script.NOT_SYSTEMS]) == builtin_names()
    assert "cfinet-r50-soda-d" in script.systems("horizontal")
    assert "cfinet-r50-soda-a" in script.systems("oriented")


@pytest.mark.parametrize("name", builtin_names())
def test_what_is_changed_is_the_same_for_all(script: Any, name: str) -> None:
    own, demo = load_recipe(name), load_recipe("cfinet-r18-demo")
    recipe = load_recipe(name, script.same_for_all(own))
    assert recipe.input == demo.input
    assert recipe.schedule == demo.schedule.model_copy(update={"lr": script.LR})
    assert getattr(recipe.model, "backbone", None) in (demo.model.backbone, None)
    assert (recipe.keep, recipe.merge, recipe.name) == (own.keep, own.merge, own.name)
    other = differing(own.model.model_dump(), recipe.model.model_dump())
    widths = (*script.WIDTHS, *script.FACTORS)
    assert any(key.split(".")[-1] in widths for key in other)
    assert all(key.split(".")[0] == "backbone" or key.split(".")[-1] in widths for key in other)


def differing(a: Any, b: Any, path: str = "") -> set[str]:
    """Return the keys, joined by dots, of values that differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        assert a.keys() == b.keys()
        return {k for key in a for k in differing(a[key], b[key], f"{path}{key}.")}
    return set() if a == b else {path.rstrip(".")}


def test_smoke_and_resume(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(script, monkeypatch, tmp_path)
    rows = list(csv.DictReader((tmp_path / "systems.csv").read_text("utf-8").splitlines()))
    assert [(r["system"], r["seed"]) for r in rows] == [
        ("faster-rcnn-r50-soda-d", seed) for seed in ("0", "mean", "spread")
    ]
    one = rows[0]
    assert 0 <= float(one["AR@300"]) <= 1
    assert 1e6 < float(one["parameters"]) < 1e8
    assert min(float(one[name]) for name in ("step_s", "patch_s", "steps")) > 0
    # rows of other runs stay, those of this one are replaced
    other, old = ({**one, "system": name, "AP": "0.5000"} for name in ("a", one["system"]))
    with (tmp_path / "again.csv").open("w", encoding="utf-8") as file:
        file.write("# a command\n")
        writer = csv.DictWriter(file, list(one))
        writer.writeheader()
        writer.writerows([other, old])
    # measured, not trained: a run that was stopped after training
    folder = tmp_path / "runs" / "faster-rcnn-r50-soda-d-0"
    weights = folder / "checkpoints" / "last.safetensors"
    written = weights.stat().st_mtime_ns
    (folder / "systems.json").unlink()
    run(script, monkeypatch, tmp_path, "--csv", str(tmp_path / "again.csv"))
    kept, *again = csv.DictReader((tmp_path / "again.csv").read_text("utf-8").splitlines())
    assert kept == other
    assert [(r["system"], r["seed"]) for r in again[:2]] == [
        ("faster-rcnn-r50-soda-d", "0"),
        ("a", "mean"),
    ]
    assert weights.stat().st_mtime_ns == written
    same = [name for name in one if not name.endswith("_s")]
    assert [again[0][name] for name in same] == [one[name] for name in same]
    # a setting that was added since has its default
    content = json.loads((folder / "systems.json").read_text("utf-8"))
    del content["recipe"]["schedule"]["ema"]
    (folder / "systems.json").write_text(json.dumps(content), "utf-8")
    run(script, monkeypatch, tmp_path)
    with pytest.raises(SystemExit, match="other settings"):
        run(script, monkeypatch, tmp_path, "--set", "schedule.lr=0.1")


def test_a_run_that_was_ended_in_its_first_epoch_goes_on(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[int] = []

    def stop(report: Any) -> None:
        steps.append(report.step)
        if len(steps) == 2:
            raise TerminatedError

    execute = partial(script.short_runs.execute, on_step=stop)
    monkeypatch.setattr(script.short_runs, "execute", execute)
    with pytest.raises(SystemExit) as ended:
        run(script, monkeypatch, tmp_path, "--set", "schedule.save_steps=1")
    assert ended.value.code == 143
    folder = tmp_path / "runs" / "faster-rcnn-r50-soda-d-0"
    assert f"{folder}: ended by SIGTERM\n" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("*/metrics.csv"))
    run(script, monkeypatch, tmp_path, "--set", "schedule.save_steps=1")
    assert steps[0] == 0
    assert steps[2] > 0
    assert (tmp_path / "systems.csv").is_file()


def test_two_at_once_are_told_of_each_other(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = tmp_path / "patches" / "train"
    with lock_folder(held), pytest.raises(SystemExit) as ended:
        run(script, monkeypatch, tmp_path)
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.count(str(held)) == 1
    assert "is writing to it" in message


def test_recall_of_detections_is_not_taken_for_that_of_proposals(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RetinaNet has no proposals; evaluating its detections gives an AR@300, too."""
    metrics = dict.fromkeys((*script.QUALITY, "AR@300"), 0.5)
    loaded = script.Checkpoint(torch.nn.Linear(2, 1), load_recipe("retinanet-r50-soda-d"), ())
    monkeypatch.setattr(script, "load_checkpoint", lambda *_: loaded)
    monkeypatch.setattr(script, "step_seconds", lambda *_: 1.0)
    annotations = type("Annotations", (), {"images": (1, 2)})
    monkeypatch.setattr(script, "read_annotations", lambda _: annotations)
    monkeypatch.setattr(script.short_runs, "scene_metrics", lambda *_: metrics)
    found = script.measure(Path("x"), script.short_runs.Scenes(Path("y")))
    assert set(found) == {*script.QUALITY, "parameters", "step_s", "patch_s"}
    assert found["parameters"] == 3


def test_a_name_that_is_no_system_is_refused(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in (("--systems", "cfinet-r18-demo"), ("--boxes", "oriented")):
        with pytest.raises(SystemExit):
            run(script, monkeypatch, tmp_path, *more)
        assert "is no system for" in capsys.readouterr().err
