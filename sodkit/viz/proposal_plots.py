"""Plots of proposals (Figure 4, Table 4) and of where objects are lost, as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sodkit.analysis.object_states import SIZES, STATES, names_of_all
from sodkit.analysis.proposal_tables import Studied, write_objects_csv, write_proposals_csv
from sodkit.data.sizes import SIZE_BOUNDS, SIZE_NAMES
from sodkit.evaluation.proposal_recall import ProposalEvaluation
from sodkit.files import StrPath
from sodkit.viz.figures import COLOURS, FORMATS, save_figure, tidy

COUNTED = SIZE_NAMES[: len(SIZE_BOUNDS)]
STATE_COLOURS = dict(
    zip(
        STATES,
        ("#4d4d4d", "#8c5a2b", "#d55e00", "#e69f00", "#cc79a7", "#56b4e9", "#009e73"),
        strict=True,
    )
)
Measured = Callable[[ProposalEvaluation, str], float | None]
"""From what is known of proposals and a size class to a number."""


def save_proposal_report(several: Sequence[Studied], folder: StrPath) -> None:
    """Write ``proposals`` and ``objects`` as PNG, SVG and CSV into a folder, replacing them.

    There is no ``proposals`` where no detector makes some.

    Raises:
        UsageError: if a file cannot be written.
    """
    folder = Path(folder)
    write_objects_csv(several, folder / "objects.csv")
    plot_objects(several, *(folder / f"objects.{form}" for form in FORMATS))
    if any(one.study.recall is not None for one in several):
        write_proposals_csv(several, folder / "proposals.csv")
        plot_proposals(several, *(folder / f"proposals.{form}" for form in FORMATS))


def plot_proposals(several: Sequence[Studied], *paths: StrPath) -> None:
    """Draw good proposals and average recall by size class.

    The epochs of a run are lines in a panel of its own; other checkpoints are bars side by side.

    Args:
        several: from ``analyze_proposals``; those without proposals are left out.
        paths: files that end in ``.png`` or ``.svg``, replaced if they exist.

    Raises:
        UsageError: if one cannot be written.
    """
    known = [one for one in several if one.study.recall is not None]
    limit = known[0].study.limit
    panels = _panels(known)
    width = 2.2 + sum(3.4 if own[0].run else max(3.4, 1.1 * len(own)) for own in panels)
    figure = Figure(figsize=(width, 6.4), layout="constrained")
    grid: Any = figure.subplots(2, len(panels), sharex="col", sharey="row", squeeze=False)
    rows: tuple[tuple[str, Measured], ...] = (
        ("good proposals an object (IoU > .5)", lambda recall, size: recall.good[size][limit]),
        ("average recall", lambda recall, size: recall.recall[size][limit]),
    )
    for axes_row, (label, measured) in zip(grid, rows, strict=True):
        axes_row[0].set_ylabel(label, fontsize=9)
        for axes, own in zip(axes_row, panels, strict=True):
            draw = _lines if own[0].run else _bars
            draw(axes, own, measured)
            axes.set_ylim(bottom=0)
            tidy(axes)
    grid[0, 0].legend(frameon=False, fontsize=9)
    figure.suptitle(f"{limit} proposals an image", fontsize=11)
    save_figure(figure, paths)


def _panels(several: Sequence[Studied]) -> list[list[Studied]]:
    """Return the checkpoints of each run whose epochs are shown, then all others together."""
    runs = dict.fromkeys(one.run for one in several if one.run is not None)
    panels = [[one for one in several if one.run == run] for run in runs]
    others = [one for one in several if one.run is None]
    return [*panels, *([others] if others else [])]


def _values(own: Sequence[Studied], size: str, measured: Measured) -> list[float]:
    found = [one.study.recall for one in own]
    values = [None if recall is None else measured(recall, size) for recall in found]
    return [np.nan if value is None else value for value in values]


def _lines(axes: Any, own: Sequence[Studied], measured: Measured) -> None:
    epochs = [one.epoch for one in own]
    for size, colour in zip(COUNTED, COLOURS, strict=True):
        values = _values(own, size, measured)
        axes.plot(epochs, values, color=colour, label=size, marker="o", markersize=3)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(own[0].run, fontsize=9, parse_math=False)


def _bars(axes: Any, own: Sequence[Studied], measured: Measured) -> None:
    thickness = 0.8 / len(COUNTED)
    for k, (size, colour) in enumerate(zip(COUNTED, COLOURS, strict=True)):
        values = _values(own, size, measured)
        places = np.arange(len(own)) + (k - (len(COUNTED) - 1) / 2) * thickness
        bars = axes.bar(places, np.nan_to_num(values), thickness, color=colour, label=size)
        texts = ["none" if np.isnan(value) else f"{value:.2f}" for value in values]
        axes.bar_label(bars, texts, fontsize=6, padding=2)
    names = [one.name for one in own]
    axes.set_xticks(np.arange(len(own)), names, fontsize=8, parse_math=False)
    if len(own) > 1 and max(map(len, names)) > 12:
        axes.tick_params(axis="x", rotation=30)


def plot_objects(several: Sequence[Studied], *paths: StrPath) -> None:
    """Draw the share of objects in each state, a bar a checkpoint, a panel a size class.

    Args:
        several: from ``analyze_proposals``.
        paths: files that end in ``.png`` or ``.svg``, replaced if they exist.

    Raises:
        UsageError: if one cannot be written.
    """
    states = [one.study.states for one in several]
    sizes = [size for size in SIZES if any(one.count(size) for one in states)] or ["all"]
    height = 1.7 + 0.32 * len(several)
    figure = Figure(figsize=(2.0 + 2.2 * len(sizes), height), layout="constrained")
    panels: Any = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    places = np.arange(len(several))
    for axes, size in zip(panels, sizes, strict=True):
        left = np.zeros(len(several))
        for name in names_of_all(states):
            shares = np.array([one.shares(size).get(name) or 0.0 for one in states])
            axes.barh(places, shares, 0.8, left, color=STATE_COLOURS[name], label=name)
            left += shares
        axes.set_title(f"{size}: {states[0].count(size):,}", fontsize=9)
        axes.set_xlim(0, 1)
        axes.set_xticks((0, 0.5, 1), ("0", ".5", "1"))
        tidy(axes)
    panels[0].set_yticks(places, [one.name for one in several], fontsize=9, parse_math=False)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, frameon=False, fontsize=8)
    figure.suptitle("Share of objects by what becomes of them", fontsize=11)
    save_figure(figure, paths)
