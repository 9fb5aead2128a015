"""``report.html`` of several evaluations side by side: one file, as ``report.py`` makes of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sodkit._version import __version__
from sodkit.data.records import Annotations
from sodkit.evaluation.class_table import largest_classes, metric_columns
from sodkit.evaluation.compare import Comparison, Run, compare
from sodkit.evaluation.evaluate import IgnoreRegions
from sodkit.evaluation.metric_files import comparison_data, write_metrics
from sodkit.evaluation.outcomes import Outcomes, match_classes, outcomes
from sodkit.evaluation.score_curves import ScoreCurve, score_curves
from sodkit.evaluation.tide import Tide, find_errors
from sodkit.files import StrPath, write_text
from sodkit.viz.loss_rows import EXPLAINED, losses
from sodkit.viz.page import render_page
from sodkit.viz.recall_charts import run_charts
from sodkit.viz.report import NAME, tab
from sodkit.viz.score_charts import run_score_charts


def write_comparison(
    folder: StrPath,
    annotations: Annotations,
    runs: Sequence[Run],
    *,
    ignore_regions: IgnoreRegions = "drop",
    comparison: Comparison | None = None,
    title: str = "Comparison",
    about: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``report.html``, ``metrics.json`` and ``per_class.csv`` of runs side by side.

    Args:
        folder: made if absent; an earlier report is replaced.
        annotations: the ground truth of all runs.
        runs: two or more, evaluated under one protocol; the first is what others differ from.
        ignore_regions: as they were evaluated.
        comparison: of these runs, None: compare now, with the defaults.
        title: of the page.
        about: as in ``write_report``.
        progress: see ``sodkit.evaluation.compare.compare``.

    Returns:
        the path of ``report.html``.

    Raises:
        UsageError: runs that cannot be compared, or a file cannot be written.
    """
    folder = Path(folder)
    if comparison is None:
        comparison = compare(annotations, runs, ignore_regions=ignore_regions, progress=progress)
    protocol = runs[0].evaluation.protocol
    found = [_outcomes(annotations, run, ignore_regions) for run in runs]
    curves = {run.name: _curve(run, one) for run, one in zip(runs, found, strict=True)}
    text = render_page(
        "comparison.html.j2",
        title=title,
        tab=tab(title, runs[0].evaluation),
        about=about,
        version=__version__,
        protocol=protocol,
        main=protocol.areas[0],
        runs=runs,
        classes=runs[0].evaluation.classes,
        labels=largest_classes(runs[0].evaluation),
        columns=metric_columns([run.evaluation for run in runs]),
        comparison=comparison,
        ignore_regions=ignore_regions,
        charts=run_charts(runs),
        curves=curves,
        score_charts=run_score_charts(curves),
        losses=losses([_tide(annotations, run, one) for run, one in zip(runs, found, strict=True)]),
        explained=EXPLAINED,
    )
    write_text(folder / NAME, text)
    data = comparison_data(runs, comparison)
    write_metrics(folder, data, {run.name: run.evaluation for run in runs})
    return folder / NAME


def _outcomes(annotations: Annotations, run: Run, ignore_regions: IgnoreRegions) -> Outcomes:
    protocol = run.evaluation.protocol
    matching = match_classes(annotations, run.detections, protocol, ignore_regions=ignore_regions)
    return outcomes(annotations, run.detections, matching, protocol)


def _curve(run: Run, found: Outcomes) -> ScoreCurve:
    """Return the curve of all classes together."""
    evaluation = run.evaluation
    return score_curves(found, evaluation.classes, evaluation.positives[:, 0]).everything


def _tide(annotations: Annotations, run: Run, found: Outcomes) -> Tide:
    return find_errors(annotations, run.detections, found, run.evaluation.protocol)
