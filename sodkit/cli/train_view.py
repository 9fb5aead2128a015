"""The loss table of a training run on stderr: a row now and then, a bar with ETA on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, TaskID

if TYPE_CHECKING:
    from sodkit.engine.log import Row
    from sodkit.engine.train import StepReport

EVERY = 50
"""Steps between rows."""


class TrainView:
    """Prints means of the losses every ``EVERY`` steps and at the end of an epoch."""

    def __init__(self, console: Console, bar: Progress | None) -> None:
        self._console, self._bar = console, bar
        self._task: TaskID | None = None
        self._sums: dict[str, float] = {}
        self._count = 0
        self._first: tuple[float, int] | None = None
        self._header: tuple[str, ...] = ()

    def step(self, report: StepReport) -> None:
        """Take in one step."""
        if self._first is None:
            self._first = (time.perf_counter(), report.step)
        for name, value in report.losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("training", total=report.steps)
            self._bar.update(self._task, completed=report.step + 1)
        last_of_epoch = (report.step + 1) % (report.steps // max(report.epochs, 1)) == 0
        if self._count == EVERY or last_of_epoch:
            self._row(report)

    def epoch(self, row: Row) -> None:
        """Print the metrics of an evaluated epoch."""
        metrics = {name: row.get(name) for name in ("AP", "AP50", "AP75")}
        known = "  ".join(f"{k} {v:.3f}" for k, v in metrics.items() if v is not None)
        if known:
            self._console.print(f"epoch {row['epoch']}: {known}")

    def _row(self, report: StepReport) -> None:
        header = ("epoch", "step", "lr", *self._sums, "eta")
        if header != self._header:
            self._header = header
            names = [name.removeprefix("loss_") for name in header]
            self._console.print("".join(f"{name:>12}" for name in names))
        means = [f"{value / self._count:.4f}" for value in self._sums.values()]
        cells = [
            f"{report.epoch + 1}/{report.epochs}", f"{report.step + 1}", f"{report.lr:.2e}",
            *means, self._eta(report),
        ]  # fmt: skip
        self._console.print("".join(f"{cell:>12}" for cell in cells))
        self._sums, self._count = {}, 0

    def _eta(self, report: StepReport) -> str:
        assert self._first is not None
        began, first = self._first
        done = report.step - first
        if done < 1:
            return "-"
        left = (time.perf_counter() - began) / done * (report.steps - report.step - 1)
        return f"{int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02}"


@contextmanager
def train_view() -> Iterator[TrainView]:
    """Give a view that writes to stderr, with a bar if that is a terminal."""
    if not sys.stderr.isatty():
        yield TrainView(Console(file=sys.stderr, width=200, highlight=False), None)
        return
    console = Console(stderr=True, highlight=False)
    with Progress(console=console, transient=True) as bar:
        yield TrainView(console, bar)
