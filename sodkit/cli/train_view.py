"""A training run on stderr: its data and device, rows of losses, metrics, a bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, TaskID

from sodkit.cli.common import LINE_SECONDS, ProgressLines, clock

if TYPE_CHECKING:
    from sodkit.engine.log import Row
    from sodkit.engine.loop import StepReport
    from sodkit.engine.train import StartReport

FIRST = (1, 10)
"""Steps that have a row of their own: to see soon that all is well, and how long it will take."""

EVERY = 50
"""Steps between rows from then on."""

GPU_LAYERS = 50
"""Recipes with a backbone of so many layers or more are made for a GPU; the demo's has 18."""


class TrainView:
    """Prints the means of the losses: now and then, each 30 s at least, and after an epoch."""

    def __init__(self, console: Console, bar: Progress | None) -> None:
        self._console, self._bar = console, bar
        self._tasks: dict[str, TaskID] = {}
        self._lines: dict[str, ProgressLines] = {}
        self._sums: dict[str, float] = {}
        self._count = self._seen = 0
        self._first: tuple[float, int] | None = None
        self._printed = time.monotonic()
        self._header: tuple[str, ...] = ()

    def start(self, report: StartReport) -> None:
        """Print what the run does."""
        for line in start_lines(report):
            self._console.print(line, markup=False, soft_wrap=True)

    def step(self, report: StepReport) -> None:
        """Show one step."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, report.step)
        for name, value in report.losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        self._seen += 1
        self._advance("training", report.step + 1, report.steps)
        last_of_epoch = (report.step + 1) % (report.steps // max(report.epochs, 1)) == 0
        due = self._seen in FIRST or self._seen % EVERY == 0 or last_of_epoch
        if due or now - self._printed >= LINE_SECONDS:
            self._printed = now
            self._row(report)

    def validate(self, done: int, total: int) -> None:
        """Show how many images of a validation are done."""
        self.progress("validating", done, total)

    def progress(self, what: str, done: int, total: int) -> None:
        """Show how far a stage is: its bar on a terminal, else a line each 30 s."""
        if self._bar is not None:
            self._advance(what, done, total)
            return
        if what not in self._lines or done <= 1:
            self._lines[what] = ProgressLines(what)
        self._lines[what](done, total)

    def epoch(self, row: Row) -> None:
        """Print the metrics of an evaluated epoch."""
        metrics = {name: value for name, value in row.items() if name.startswith("AP")}
        if any(value is not None for value in metrics.values()):
            cells = (f"{k} {'-' if v is None else format(v, '.3f')}" for k, v in metrics.items())
            self._console.print(f"epoch {row['epoch']}: {'  '.join(cells)}", soft_wrap=True)

    def _advance(self, what: str, done: int, total: int) -> None:
        """Move the bar of this name."""
        if self._bar is None:
            return
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)

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
        return clock((time.monotonic() - began) / done * (report.steps - report.step - 1))


def start_lines(report: StartReport) -> list[str]:
    """Return lines on what is trained, where, on what, how long and into which folder."""
    from sodkit.engine.device import describe
    from sodkit.settings.outside import Outside

    recipe, device = report.recipe, describe(report.device)
    if report.device.type == "cpu" and not isinstance(recipe.model, Outside):
        backbone = recipe.model.backbone.name
        if int(backbone.removeprefix("resnet")) >= GPU_LAYERS:
            device += f"; a recipe with {backbone} is made for a GPU, and slow without one"
    if report.processes > 1:
        device += f"; {report.processes} processes"
    epochs, batch = recipe.schedule.epochs, recipe.schedule.batch
    steps = f"{epochs * report.steps} ({epochs} epochs of {report.steps}, {batch} images a step)"
    done = report.epoch * report.steps + report.step
    if done:
        steps += f"; {done} are done"
    return [
        f"recipe: {recipe.name}",
        f"device: {device}",
        f"data: {report.images} images, {report.objects} objects, {report.ignored} ignored",
        f"steps: {steps}",
        f"folder: {report.out}",
    ]


@contextmanager
def train_view(*, shown: bool = True) -> Iterator[TrainView]:
    """Yield a view that writes to stderr, with a bar if that is a terminal.

    Args:
        shown: False: it writes nothing.
    """
    if not shown:
        yield TrainView(Console(quiet=True), None)
        return
    if not sys.stderr.isatty():
        yield TrainView(Console(file=sys.stderr, width=200, highlight=False), None)
        return
    console = Console(stderr=True, highlight=False)
    with Progress(console=console, transient=True) as bar:
        yield TrainView(console, bar)
