"""Anchors against objects as tables: what ``analyze-anchors`` prints and a notebook shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodkit.table_text import TextTable, number

if TYPE_CHECKING:
    from sodkit.analysis.anchor_study import AnchorQuality, SizeSummary


def anchor_tables(quality: AnchorQuality) -> list[TextTable]:
    """Return tables of the best IoU, of mean positives by rule, and by system."""
    rows = quality.summary()
    names = [row.name for row in rows]
    rules = [
        (rule, *(number(row.positives[rule], ".2f") for row in rows)) for rule in quality.positives
    ]
    systems = [
        (system, *(_with_none(row.systems[system], row.without[system]) for row in rows))
        for system in quality.systems
    ]
    title = "Mean number of positives an object gets from each system (share of objects with none)"
    return [
        *_overlap_tables(quality, rows),
        TextTable("Mean number of positive anchors an object gets", ("rule", *names), rules),
        TextTable(title, ("system", *names), systems),
    ]


def _overlap_tables(quality: AnchorQuality, rows: list[SizeSummary]) -> list[TextTable]:
    """Return the best IoU of each size class; of oriented objects the rotated one, too."""
    levels = [f"IoU >= {level:g}" for level in rows[0].shares]
    cells = [
        (
            row.name,
            row.objects,
            number(row.mean_iou, ".3f"),
            number(row.median_iou, ".3f"),
            *(number(share, ".1%") for share in row.shares.values()),
        )
        for row in rows
    ]
    heads = ("size", "objects", "mean", "median", *levels)
    first = TextTable(f"Best IoU with an anchor of {quality.recipe}", heads, cells)
    if quality.rotated_iou is None:
        return [first]
    turned = [(row.name, number(row.rotated_iou, ".3f")) for row in rows]
    title = "Best rotated IoU of the oriented objects themselves"
    return [first, TextTable(title, ("size", "mean"), turned)]


def _with_none(mean: float | None, without: float | None) -> str | None:
    return None if mean is None or without is None else f"{mean:.2f} ({without:.0%})"
