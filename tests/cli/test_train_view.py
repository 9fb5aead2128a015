"""What a training run says on stderr, into a log file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console
from rich.live import Live

from sodkit.cli import common, train_view
from sodkit.cli.train_figures import Means
from sodkit.cli.train_view import TrainView, start_lines
from sodkit.cli.train_view import train_view as make_view
from sodkit.config import load_recipe
from sodkit.engine.reports import StartReport, StepReport


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
    return [int(line.split()[1]) for line in text.splitlines() if line.split()[1].isdigit()]


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


def full(step: int, positives: torch.Tensor | None) -> StepReport:
    """A report with all that is shown."""
    losses = {"loss_cls": 0.5, "loss": 1.5}
    return StepReport(
        0, 1, step, 20, losses, 0.01, images=4, seconds=2.0, wait=0.5, positives=positives
    )


COUNTED = torch.tensor([[2, 0, 1, 0, 0], [7, 0, 9, 0, 0]])


def test_speed_waiting_and_positives_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with make_view() as view:
        for step in range(10):
            view.step(full(step, COUNTED))
    header, first, second = capsys.readouterr().err.splitlines()
    assert header.split()[3:] == [
        "cls", "loss", "images/s", "wait", "memory", "positives", "eS/rS/gS/N", "eta"
    ]  # fmt: skip
    for row in (first, second):
        assert row.split()[5:9] == ["2", "25%", "-", "3.5/-/9.0/-"]


def test_figures_are_means_of_what_they_were_given() -> None:
    means = Means()
    for step in range(3):
        means.add(full(step, COUNTED if step else None))
    figures = means.figures()
    assert figures.losses == {"loss_cls": 0.5, "loss": 1.5}
    assert (figures.speed, figures.wait) == (2.0, 0.25)
    assert figures.positives == (3.5, None, 9.0, None)
    means = Means()
    means.add(StepReport(0, 1, 0, 1, {"loss": 1.0}, 0.1))
    assert (means.figures().speed, means.figures().wait) == (None, None)
    assert means.figures().positives == (None,) * 4


def test_the_table_on_a_terminal(clock: Clock) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=90, color_system=None)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        view = TrainView(console, live)
        view.start(start_report())
        for step in range(20):
            clock.now += 0.3
            view.step(full(step, COUNTED))
            live.refresh()
        view.epoch({"epoch": 1, "loss": 1.25, "AP": 0.5})
    shown = stream.getvalue()
    for words in (
        "images/s", "waiting for images", "25%", "learning rate", "positives an object, eS", "3.5",
        "GB", "time left", "training", "epoch 1: loss 1.250  AP 0.500",
    ):  # fmt: skip
        assert words in shown
    assert "positives eS/rS/gS/N" not in shown  # that is the log's


def start_report() -> StartReport:
    recipe = load_recipe("cfinet-r18-demo")
    return StartReport(recipe, torch.device("cpu"), Path("run"), 80, 500, 7, 0, 20)
