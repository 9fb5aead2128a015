"""Comparisons as tables: what ``sodkit eval`` prints and a notebook shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodkit.table_text import TextTable, number

if TYPE_CHECKING:
    from sodkit.evaluation.compare import Comparison, Interval
    from sodkit.evaluation.methods import MethodComparison


def comparison_table(comparison: Comparison) -> TextTable:
    """Return runs side by side: value, and the difference to the first with its interval."""
    first, *others = comparison.names
    columns = ["metric", first]
    for name in others:
        columns += [name, f"less {first}"]
    rows = []
    for metric in comparison.metrics:
        row = [metric, number(comparison.values[first][metric], ".4f")]
        for name in others:
            row.append(number(comparison.values[name][metric], ".4f"))
            row.append(
                _difference(
                    comparison.differences[name][metric],
                    comparison.difference_intervals[name].get(metric),
                )
            )
        rows.append(row)
    title = f"{comparison.protocol}, 95 % intervals of {comparison.resamples} resamples"
    return TextTable(title, columns, rows)


def methods_table(comparison: MethodComparison) -> TextTable:
    """Return methods side by side: mean and spread over seeds, difference to the first."""
    first, *others = comparison.methods
    studies = comparison.methods
    columns = ["metric", *(f"{name} ({one.seeds})" for name, one in studies.items())]
    columns += [f"{name} less {first}" for name in others]
    rows = [
        [
            metric,
            *(_with_spread(one.mean[metric], one.spread[metric]) for one in studies.values()),
            *(
                _difference(
                    studies[name].difference[metric], studies[name].difference_interval[metric]
                )
                for name in others
            ),
        ]
        for metric in comparison.metrics
    ]
    title = (
        f"{comparison.protocol}, mean and spread over seeds, 95 % intervals over images and seeds"
        f" of {comparison.resamples} resamples"
    )
    return TextTable(title, columns, rows)


def _with_spread(mean: float | None, spread: float | None) -> str | None:
    """Return "0.1234 ± 0.0100"."""
    value = number(mean, ".4f")
    return value if value is None or spread is None else f"{value} ± {spread:.4f}"


def _difference(value: float | None, interval: Interval | None) -> str | None:
    """Return "+0.0123 [+0.0050, +0.0200]", a star behind it if the interval leaves 0 out."""
    if value is None:
        return None
    if interval is None or interval.low is None or interval.high is None:
        return f"{value:+.4f}"
    star = " *" if interval.excludes_zero else ""
    return f"{value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]{star}"
