"""A run goes on from between any two steps, to the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sodkit.data.records import Annotations
from sodkit.engine.reports import StepReport
from sodkit.engine.train import train
from sodkit.engine.train_step import seeded
from sodkit.errors import SodkitError, TerminatedError
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe

Data = tuple[Annotations, Path]
CPU = torch.device("cpu")


class Killed(BaseException):
    """Stands for the end of the process: nothing is done about it."""


def saved_each_step(recipe: Recipe) -> Recipe:
    schedule = recipe.schedule.model_copy(update={"save_steps": 1})
    return recipe.model_copy(update={"schedule": schedule})


def validated(detector: DetectorModule) -> dict[str, float | None]:
    """A metric that follows from the weights."""
    return {"AP": 1 / sum(float(p.detach().double().abs().sum()) for p in detector.parameters())}


def left_by(run: Path) -> dict[str, bytes]:
    files = [p for p in run.rglob("*") if p.is_file() and "tfevents" not in p.name]
    return {p.name: p.read_bytes() for p in files if p.name != "times.csv"}


def at(step: int, act: Callable[[], None]) -> Callable[[StepReport], None]:
    """Return an ``on_step`` that acts at one step."""
    return lambda report: act() if report.step == step else None


def kill() -> None:
    raise Killed


def test_killed_in_any_step_and_resumed(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    often = saved_each_step(recipe)
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(often, *data, whole, device=CPU, workers=0, validate=validated)
    steps: list[int] = []
    for number in (1, 2, 4, 5):  # the state is of the step before
        with pytest.raises(Killed):
            train(
                often, *data, run, device=CPU, workers=0, resume=number > 1, validate=validated,
                on_step=at(number, kill), on_start=lambda r: steps.append(r.epoch * 3 + r.step),
            )  # fmt: skip
    train(often, *data, run, device=CPU, workers=2, resume=True, validate=validated)
    assert steps == [0, 1, 2, 4]
    assert left_by(run) == left_by(whole)


def test_generators_of_the_process_follow_from_seed_and_step() -> None:
    """A detector from outside may draw from them."""

    def drawn(seed: int, step: int) -> tuple[object, ...]:
        shuffle = seeded(seed, step)
        order = tuple(shuffle(5).tolist())
        return float(torch.rand(1)), float(np.random.rand()), random.random(), order

    first = drawn(0, 7)
    assert drawn(0, 7) == first
    for other in (drawn(0, 8), drawn(1, 7)):
        assert all(one != two for one, two in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("number", "error", "workers"),
    [(signal.SIGINT, KeyboardInterrupt, 1), (signal.SIGTERM, TerminatedError, 0)],
)
def test_a_signal_saves_the_step_that_runs(
    recipe: Recipe,
    data: Data,
    tmp_path: Path,
    number: signal.Signals,
    error: type[BaseException],
    workers: int,
) -> None:
    whole, run, said = tmp_path / "whole", tmp_path / "run", list[str]()
    train(recipe, *data, whole, device=CPU, workers=0)
    for step in (1, 5):  # within an epoch, and at the end of the last one
        with pytest.raises(error):
            train(
                recipe, *data, run, device=CPU, workers=workers, resume=step > 1, say=said.append,
                on_step=at(step, lambda: os.kill(os.getpid(), number)),
            )  # fmt: skip
    steps: list[StepReport] = []
    train(recipe, *data, run, device=CPU, workers=0, resume=True, on_step=steps.append)
    assert not steps
    assert len(said) == 2
    assert left_by(run) == left_by(whole)


def test_a_signal_that_comes_twice_stops_at_once(
    recipe: Recipe, data: Data, tmp_path: Path
) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, *data, tmp_path, device=CPU, workers=0, on_step=at(1, twice))
    assert not (tmp_path / "checkpoints").exists()
    assert signal.getsignal(signal.SIGINT) == before


def test_a_signal_that_ends_the_workers_too(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    """As a cluster sends it: to all processes of a job."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(recipe, *data, whole, device=CPU, workers=0)

    def to_all() -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TerminatedError):
        train(recipe, *data, run, device=CPU, workers=1, on_step=at(3, to_all))
    train(recipe, *data, run, device=CPU, workers=0, resume=True)
    assert left_by(run) == left_by(whole)


def test_a_disk_that_is_full_leaves_the_earlier_state(
    recipe: Recipe, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often, whole, run = saved_each_step(recipe), tmp_path / "whole", tmp_path / "run"
    train(often, *data, whole, device=CPU, workers=0)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        fill = at(4, lambda: patch.setattr("sodkit.engine.checkpoint.save_file", full))
        with pytest.raises(SodkitError) as caught:
            train(often, *data, run, device=CPU, workers=0, on_step=fill)
    assert caught.value.where == str(run / "checkpoints/state.safetensors")
    assert not list(run.rglob(".tmp*"))
    train(often, *data, run, device=CPU, workers=0, resume=True)
    assert left_by(run) == left_by(whole)
