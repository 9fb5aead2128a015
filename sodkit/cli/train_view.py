"""A training run on stderr: its data and device, rows of losses, metrics, a bar on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress, TaskID
from rich.table import Table

from sodkit.cli.common import LINE_SECONDS, ProgressLines, clock
from sodkit.cli.train_figures import (
    SHOWN,
    Means,
    memory_text,
    positive_texts,
    speed_text,
    wait_text,
)

if TYPE_CHECKING:
    import torch

    from sodkit.engine.log import Row
    from sodkit.engine.reports import StartReport, StepReport

FIRST = (1, 10)
"""Steps that have a row of their own: to see soon that all is well, and how long it will take."""

EVERY = 50
"""Steps between rows from then on."""

TABLE_SECONDS = 1.0
"""Between two states of the table on a terminal: each waits for the device."""

GPU_LAYERS = 50
"""Recipes with a backbone of so many layers or more are made for a GPU; the demo's has 18."""


class TrainView:
    """Shows how a training goes: losses, speed, memory, positives, time left.

    Without a terminal a row now and then, each 30 s at least, and after an epoch; on a terminal a
    table that is kept up to date, and a line after an epoch.

    Args:
        console: on stderr.
        live: the table's place on a terminal, None: there is no terminal.
    """

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console, self._live = console, live
        self._bar = None if live is None else Progress(console=console)
        self._tasks: dict[str, TaskID] = {}
        self._lines: dict[str, ProgressLines] = {}
        self._means, self._recent = Means(), Means()
        self._seen = 0
        self._first: tuple[float, int] | None = None
        self._printed = self._drawn = time.monotonic()
        self._header: tuple[str, ...] = ()
        self._device: torch.device | None = None
        self._table: Table | None = None

    def start(self, report: StartReport) -> None:
        """Print what the run does."""
        self._device = report.device
        for line in start_lines(report):
            self._console.print(line, markup=False, soft_wrap=True)

    def step(self, report: StepReport) -> None:
        """Show one step."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, report.step)
        self._means.add(report)
        self._recent.add(report)
        self._seen += 1
        self._advance("training", report.step + 1, report.steps)
        last_of_epoch = (report.step + 1) % (report.steps // max(report.epochs, 1)) == 0
        if self._live is None:
            due = self._seen in FIRST or self._seen % EVERY == 0 or last_of_epoch
            due = due or now - self._printed >= LINE_SECONDS
            if due:
                self._printed = now
                self._row(report)
        elif last_of_epoch or self._seen in FIRST or now - self._drawn >= TABLE_SECONDS:
            self._drawn = now
            self._redraw(report)

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
        """Print the metrics of an evaluated epoch; on a terminal also the mean loss."""
        metrics = {name: value for name, value in row.items() if name.startswith("AP")}
        shown = metrics if any(value is not None for value in metrics.values()) else {}
        if self._live is not None and row.get("loss") is not None:
            shown = {"loss": row["loss"]} | shown
        if shown:
            cells = (f"{k} {'-' if v is None else format(v, '.3f')}" for k, v in shown.items())
            self._console.print(f"epoch {row['epoch']}: {'  '.join(cells)}", soft_wrap=True)

    def _advance(self, what: str, done: int, total: int) -> None:
        """Move the bar of this name."""
        if self._bar is None:
            return
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=total)
        self._bar.update(self._tasks[what], completed=done, total=total)
        self._show()

    def _show(self) -> None:
        """Put table and bars on the terminal."""
        if self._live is not None and self._bar is not None:
            parts = [self._bar] if self._table is None else [self._table, self._bar]
            self._live.update(Group(*parts))

    def _redraw(self, report: StepReport) -> None:
        """Make the table anew, of the steps since it was last made."""
        figures, self._recent = self._recent.figures(), Means()
        left = [(_short(name), f"{value:.4f}") for name, value in figures.losses.items()]
        sizes = zip(SHOWN, positive_texts(figures), strict=True)
        right = [
            ("epoch", f"{report.epoch + 1}/{report.epochs}"),
            ("learning rate", f"{report.lr:.2e}"),
            ("images/s", speed_text(figures)),
            ("waiting for images", wait_text(figures)),
            ("memory", memory_text(self._memory())),
            ("time left", self._eta(report)),
            *((f"positives an object, {name}", text) for name, text in sizes),
        ]
        table = Table(show_header=False, box=None, padding=(0, 2))
        for _ in range(2):
            table.add_column(no_wrap=True)
            table.add_column(justify="right", no_wrap=True)
        for one, other in zip_longest(left, right, fillvalue=("", "")):
            table.add_row(*one, *other)
        self._table = table
        self._show()

    def _row(self, report: StepReport) -> None:
        figures, self._means = self._means.figures(), Means()
        header = ("epoch", "step", "lr", *figures.losses, "images/s", "wait", "memory",
                  f"positives {'/'.join(SHOWN)}", "eta")  # fmt: skip
        if header != self._header:
            self._header = header
            names = "".join(f"{_short(name):>12}" for name in header[:-2])
            self._console.print(f"{names}{header[-2]:>22}{header[-1]:>12}", soft_wrap=True)
        means = [f"{value:.4f}" for value in figures.losses.values()]
        cells = [
            f"{report.epoch + 1}/{report.epochs}", f"{report.step + 1}", f"{report.lr:.2e}",
            *means, speed_text(figures), wait_text(figures), memory_text(self._memory()),
        ]  # fmt: skip
        row = "".join(f"{cell:>12}" for cell in cells)
        sizes = "/".join(positive_texts(figures))
        self._console.print(f"{row}{sizes:>22}{self._eta(report):>12}", soft_wrap=True)

    def _memory(self) -> int | None:
        """Return the most bytes that were in use so far."""
        if self._device is None:
            return None
        from sodkit.engine.device import peak_memory

        return peak_memory(self._device)

    def _eta(self, report: StepReport) -> str:
        assert self._first is not None
        began, first = self._first
        done = report.step - first
        if done < 1:
            return "-"
        return clock((time.monotonic() - began) / done * (report.steps - report.step - 1))


def _short(name: str) -> str:
    return name.removeprefix("loss_")


def start_lines(report: StartReport) -> list[str]:
    """Return lines on what is trained, where, on what, how long and into which folder."""
    from sodkit.engine.device import describe
    from sodkit.settings.keypoints import CornerNet
    from sodkit.settings.outside import Outside
    from sodkit.settings.yolox import Yolox

    recipe = report.recipe
    device = describe(report.device, recipe.schedule.precision)
    if report.device.type == "cpu" and not isinstance(recipe.model, Outside | Yolox | CornerNet):
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
    """Yield a view that writes to stderr, with a table and bars if that is a terminal.

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
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield TrainView(console, live)
