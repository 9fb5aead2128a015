"""What a training run says on stderr, into a log file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sodkit.cli import common, train_view
from sodkit.cli.train_view import TrainView, start_lines
from sodkit.cli.train_view import train_view as make_view
from sodkit.config import load_recipe
from sodkit.engine.loop import StepReport
from sodkit.engine.train import StartReport


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(train_view, "time", clock)
    monkeypatch.setattr(common, "time", clock)
    return clock


def steps_of_rows(text: str) -> list[int]:
    return [int(line.split()[1]) for line in text.splitlines() if "/" in line]


def train(view: TrainView, clock: Clock, count: int, seconds: float, first: int = 0) -> None:
    for step in range(first, count):
        clock.now += seconds
        view.step(StepReport(step // 120, 2, step, 240, {"loss": 1.0 + step}, 0.1))


def test_rows_come_early_and_at_the_end_of_an_epoch(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_view() as view:
        train(view, clock, 240, 0.01)
    out, err = capsys.readouterr()
    assert out == ""
    assert steps_of_rows(err) == [1, 10, 50, 100, 120, 150, 200, 240]
    assert err.splitlines()[2].split()[:2] == ["1/2", "10"]
    assert err.splitlines()[2].split()[3] == "6.0000"  # of the steps 2 to 10


def test_slow_steps_have_a_row_each_half_minute(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_view() as view:
        train(view, clock, 20, 12.0)
        assert steps_of_rows(capsys.readouterr().err) == [1, 4, 7, 10, 13, 16, 19]
        view.validate(1, 100)
        clock.now += 40
        view.validate(2, 100)
        clock.now += 20
        view.validate(3, 100)
    assert capsys.readouterr().err == "validating: 2/100, 0:32:40 left\n"


def test_all_metrics_of_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    with make_view() as view:
        view.epoch({"epoch": 1, "loss": 3.0, "AP": 0.125, "AP50": 0.25, "AP_eS": None})
        view.epoch({"epoch": 2, "loss": 3.0})
    assert capsys.readouterr().err == "epoch 1: AP 0.125  AP50 0.250  AP_eS -\n"


@pytest.mark.parametrize(
    ("name", "slow"), [("cfinet-r18-demo", False), ("cfinet-r50-soda-d", True)]
)
def test_what_is_said_before_the_first_step(name: str, slow: bool) -> None:
    recipe = load_recipe(name, ["schedule.epochs=3", "schedule.batch=4"])
    report = StartReport(recipe, torch.device("cpu"), Path("a b/run"), 80, 500, 7, 1, 20)
    _, device, *rest = start_lines(report)
    assert device.startswith(f"device: cpu ({torch.get_num_threads()} threads)")
    assert ("resnet50 is made for a GPU" in device) == slow
    assert rest == [
        "data: 80 images, 500 objects, 7 ignored",
        "steps: 60 (3 epochs of 20, 4 images a step); 20 are done",
        "folder: a b/run",
    ]
