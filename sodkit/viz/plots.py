"""Plots as PNG or SVG: anchors against object sizes (Figure 1), sizes of objects (Figure 3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sodkit.analysis.anchor_study import COUNTED, LEVELS_OF_IOU, AnchorQuality, write_quality_csv
from sodkit.csv_text import Cell, csv_text
from sodkit.data.records import Annotations
from sodkit.data.sizes import SIZE_BOUNDS
from sodkit.files import StrPath, write_text
from sodkit.viz.figures import COLOURS, FORMATS, save_figure, tidy

BINS = 50


def save_anchor_report(quality: AnchorQuality, annotations: Annotations, folder: StrPath) -> None:
    """Write ``anchors`` and ``sizes`` as PNG, SVG and CSV into a folder, replacing them.

    Raises:
        UsageError: if a file cannot be written.
    """
    folder = Path(folder)
    write_quality_csv(quality, folder / "anchors.csv")
    write_sizes_csv(annotations, folder / "sizes.csv")
    plot_anchor_quality(quality, *(folder / f"anchors.{form}" for form in FORMATS))
    plot_sizes(annotations, *(folder / f"sizes.{form}" for form in FORMATS))


def plot_anchor_quality(quality: AnchorQuality, *paths: StrPath) -> None:
    """Draw the distribution of the best anchor IoU and mean positives, by size class.

    The positives are those of several rules with the recipe's anchors, and of every system.

    Args:
        quality: from ``analyze_anchors``.
        paths: files that end in ``.png`` or ``.svg``, replaced if they exist.

    Raises:
        UsageError: if one cannot be written.
    """
    figure = Figure(figsize=(15, 5.2), layout="constrained")
    panels: Any = figure.subfigures(1, 3, width_ratios=(3, 2.6, 3))
    left, middle, right = panels
    rows = quality.summary()[: len(COUNTED)]
    _plot_distribution(left.subplots(len(COUNTED), 1, sharex=True), quality)
    rules = {row.name: row.positives for row in rows}
    axes = middle.subplots()
    _plot_positives(axes, rules, "mean positive anchors an object, by rule")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    systems = {row.name: row.systems for row in rows}
    _plot_positives(right.subplots(), systems, "mean positives an object, by system")
    figure.suptitle(f"Anchors of {quality.recipe}: {len(quality.iou):,} objects", fontsize=11)
    save_figure(figure, paths)


def plot_sizes(annotations: Annotations, *paths: StrPath) -> None:
    """Draw the distribution of object sizes (square root of the area), ignored ones left out.

    Args:
        annotations: the data set.
        paths: files that end in ``.png`` or ``.svg``, replaced if they exist.

    Raises:
        UsageError: if one cannot be written.
    """
    area = annotations.area[~annotations.ignore]
    top = np.sqrt(SIZE_BOUNDS[-1])
    sides = np.minimum(np.sqrt(area), 1.5 * top)
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes: Any = figure.subplots()
    low = 0.0
    for name, bound, colour in zip(COUNTED, SIZE_BOUNDS, COLOURS, strict=True):
        high = float(np.sqrt(bound))
        share = float(((area > low**2) & (area <= bound)).mean()) if len(area) else 0.0
        axes.axvspan(low, high, color=colour, alpha=0.13, linewidth=0, label=f"{name} {share:.1%}")
        low = high
    axes.hist(sides, bins=np.linspace(0, 1.5 * top, 68), color="#44546a")
    axes.set(xlabel="√area in px (larger ones in the last bar)", ylabel="objects")
    axes.set_xlim(0, 1.5 * top)
    # Not where it fits best: looking for that takes long, and matplotlib then warns.
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    tidy(axes)
    figure.suptitle(f"Sizes of {len(area):,} objects", fontsize=11)
    save_figure(figure, paths)


def write_sizes_csv(annotations: Annotations, path: StrPath) -> None:
    """Write how many objects there are of each size, in steps of a px: the bars of ``plot_sizes``.

    A row has the least and the next square root of the area in px, and the objects; ignored ones
    are left out. The last row has no upper bound.

    Args:
        annotations: the data set.
        path: the CSV, replaced if it exists.

    Raises:
        UsageError: if it cannot be written.
    """
    sides = np.sqrt(annotations.area[~annotations.ignore])
    top = int(1.5 * np.sqrt(SIZE_BOUNDS[-1]))
    counts = np.bincount(np.minimum(sides, top).astype(np.int64), minlength=top + 1).tolist()
    rows: list[list[Cell]] = [["from_px", "to_px", "objects"]]
    rows += [[k, k + 1 if k < top else "", count] for k, count in enumerate(counts)]
    write_text(Path(path), csv_text(rows))


def _plot_distribution(rows: Any, quality: AnchorQuality) -> None:
    """Draw a histogram for each size class, one below the other."""
    edges = np.linspace(0, 1, BINS + 1)
    for index, (axes, name, colour) in enumerate(zip(rows, COUNTED, COLOURS, strict=True)):
        iou = quality.iou[quality.size == index]
        title = f"{name}\n{len(iou):,} objects"
        if len(iou):
            weights = np.full(len(iou), 1 / len(iou))
            axes.hist(iou, edges, weights=weights, color=colour, alpha=0.75)
            title += f"\nmean {iou.mean():.2f}"
        axes.text(0.01, 0.92, title, transform=axes.transAxes, fontsize=9, va="top")
        for level in LEVELS_OF_IOU:
            axes.axvline(level, color="#666666", linewidth=0.8, linestyle=(0, (4, 3)))
        tidy(axes)
    rows[-1].set(xlabel="best IoU with an anchor (lines at .3, .5, .7)")
    rows[-1].set_xlim(0, 1)
    rows[len(rows) // 2].set_ylabel("share of objects", y=1.0)


def _plot_positives(axes: Any, means: dict[str, dict[str, float | None]], label: str) -> None:
    """Draw the mean positives of each size class as bars, grouped by rule or system."""
    names = list(next(iter(means.values())))
    thickness = 0.8 / len(means)
    for index, ((size, by_name), colour) in enumerate(zip(means.items(), COLOURS, strict=True)):
        found = [by_name[name] for name in names]
        values = [value or 0.0 for value in found]
        places = np.arange(len(names)) + (index - (len(means) - 1) / 2) * thickness
        bars = axes.barh(places, values, height=thickness, color=colour, label=size)
        texts = ["no objects" if value is None else f"{value:.1f}" for value in found]
        axes.bar_label(bars, texts, fontsize=6, padding=2)
    axes.set_yticks(np.arange(len(names)), names, fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel=label)
    axes.margins(x=0.1)
    tidy(axes)
