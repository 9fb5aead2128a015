"""What MLflow and Weights & Biases are given; the packages themselves are stood in for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sodkit.engine.log import RunLog
from sodkit.engine.sinks import MlflowSink, WandbSink, check_sinks, open_sinks, sink_names
from sodkit.errors import MissingExtraError, UsageError
from sodkit.settings import Recipe

Calls = list[tuple[Any, ...]]


class Noting:
    """Anything: calls are noted with their name and arguments."""

    def __init__(self, calls: Calls, answers: dict[str, Any]) -> None:
        self._calls, self._answers = calls, answers

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls.append((name, args, kwargs))
            return self._answers.get(name, self)

        return call


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls: Calls = []
    monkeypatch.setitem(sys.modules, "wandb", Noting(calls, {}))
    return calls


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls: Calls = []
    run = SimpleNamespace(info=SimpleNamespace(run_id="r"))
    client = Noting(calls, {"create_run": run, "get_experiment_by_name": None})
    tracking = ModuleType("mlflow.tracking")
    tracking.MlflowClient = lambda **kwargs: calls.append(("client", (), kwargs)) or client  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    return calls


def test_wandb_stays_offline_and_in_the_folder(
    wandb: Calls, recipe: Recipe, tmp_path: Path
) -> None:
    sink = WandbSink(tmp_path, recipe)
    sink.numbers({"loss": 0.5}, 3)
    sink.close()
    started = next(kwargs for name, _, kwargs in wandb if name == "init")
    assert (started["mode"], started["dir"]) == ("offline", str(tmp_path))
    assert started["config"]["schedule.batch"] == "2"
    assert ("log", ({"loss": 0.5},), {"step": 3}) in wandb
    assert wandb[-1][0] == "finish"


def test_mlflow_writes_into_the_folder(mlflow: Calls, recipe: Recipe, tmp_path: Path) -> None:
    sink = MlflowSink(tmp_path, recipe)
    sink.numbers({"loss": 0.5, "AP": 0.25}, 3)
    sink.close()
    uri = next(kwargs for name, _, kwargs in mlflow if name == "client")["tracking_uri"]
    assert str(tmp_path) in uri
    assert ("log_param", ("r", "schedule.batch", "2"), {}) in mlflow
    assert [args for name, args, _ in mlflow if name == "log_metric"] == [
        ("r", "loss", 0.5), ("r", "AP", 0.25)
    ]  # fmt: skip
    assert mlflow[-1][:2] == ("set_terminated", ("r",))


class Kept:
    """A sink of the user's own."""

    def __init__(self) -> None:
        self.given: list[tuple[dict[str, float], int]] = []

    def numbers(self, values: dict[str, float], step: int) -> None:
        self.given.append((values, step))

    def close(self) -> None:
        raise AssertionError("whoever opened it closes it")


def test_the_log_passes_its_numbers_on(tmp_path: Path) -> None:
    kept = Kept()
    with RunLog(tmp_path, sinks=[kept]) as log:
        log.step({"epoch": 1, "step": 1, "lr": 0.1, "loss": 2.0})
        log.epoch({"epoch": 1, "step": 1, "loss": 2.0, "AP": None, "seconds": 3.0})
    assert kept.given == [({"lr": 0.1, "loss": 2.0}, 1), ({"loss": 2.0, "seconds": 3.0}, 1)]


def test_names() -> None:
    assert sink_names(None) == ()
    assert sink_names("wandb, mlflow,wandb") == ("mlflow", "wandb")
    with pytest.raises(UsageError, match=r"--log-to: there is no 'tensorbord'"):
        sink_names("tensorbord")


def test_a_package_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, recipe: Recipe, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        check_sinks(["wandb"])
    assert "sodkit[wandb]" in (caught.value.hint or "")
    with pytest.raises(MissingExtraError):
        open_sinks(["mlflow"], tmp_path, recipe)
