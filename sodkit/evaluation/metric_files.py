"""Metrics as files: ``metrics.json`` for programs, ``per_class.csv`` for spreadsheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sodkit.csv_text import Cell, csv_text
from sodkit.evaluation.compare import Comparison, Run
from sodkit.evaluation.evaluate import Evaluation
from sodkit.evaluation.methods import MethodComparison
from sodkit.files import write_text
from sodkit.outputs import json_object


def write_metrics(
    folder: Path, data: Mapping[str, Any], results: Mapping[str, Evaluation] | None = None
) -> None:
    """Write ``metrics.json`` and, of evaluations by name, ``per_class.csv`` into a folder.

    Args:
        folder: made if absent; the two files are replaced.
        data: plain data without NaN.
        results: a line of the CSV for each of them and each class; undefined is empty.

    Raises:
        UsageError: a file cannot be written.
    """
    write_text(folder / "metrics.json", json_object(data) + "\n")
    if results is None:
        return
    names = list(next(iter(results.values())).metrics)
    rows: list[list[Cell]] = [["predictions", "class", *names]]
    for run, result in results.items():
        for name, metrics in result.per_class.items():
            cells = ["" if metrics[key] is None else repr(metrics[key]) for key in names]
            rows.append([run, name, *cells])
    write_text(folder / "per_class.csv", csv_text(rows))


def comparison_data(
    runs: Sequence[Run], comparison: Comparison | MethodComparison
) -> dict[str, Any]:
    """Return runs and their comparison, or their methods', as ``eval --json`` prints it."""
    return {
        "protocol": runs[0].evaluation.protocol.name,
        "runs": {run.name: run.evaluation.as_dict() for run in runs},
        "comparison": comparison.as_dict(),
    }
