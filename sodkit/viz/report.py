"""``report.html``: an evaluation, or several side by side, as one file that needs nothing else.

Style, charts and pictures are inside; there is no script and no address outside the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from sodkit._version import __version__
from sodkit.arrays import FloatArray
from sodkit.data import class_scores
from sodkit.data.class_scores import write_class_scores
from sodkit.data.records import Annotations, Detections
from sodkit.evaluation.class_table import gaps, largest_classes, metric_columns
from sodkit.evaluation.compare import Comparison, Run, compare
from sodkit.evaluation.evaluate import Evaluation, IgnoreRegions
from sodkit.evaluation.metric_files import comparison_data, write_metrics
from sodkit.evaluation.outcomes import main_metric, match_classes, outcomes
from sodkit.evaluation.protocol import Protocol
from sodkit.evaluation.study import Study
from sodkit.evaluation.study import study as look_closely
from sodkit.evaluation.tide import ERRORS, Tide, find_errors
from sodkit.evaluation.worst import ClassErrors, class_errors
from sodkit.files import StrPath, write_text
from sodkit.viz.confusion_table import confusion_table
from sodkit.viz.page import render_page
from sodkit.viz.score_charts import COLOURS, calibration_chart, score_chart, score_rows
from sodkit.viz.svg import Series, line_chart, sparkline
from sodkit.viz.thumbnails import thumbnails

NAME = "report.html"

EXPLAINED = {
    "classification": "on an object of another class (IoU .5 or more)",
    "localisation": "right class, but IoU with its object between .1 and .5",
    "both": "another class, and IoU between .1 and .5",
    "duplicate": "on an object that a better-scored detection found already",
    "background": "on nothing: IoU below .1 with every object",
    "missed": "objects that no detection comes near",
}


def write_report(
    folder: StrPath,
    evaluation: Evaluation,
    annotations: Annotations,
    detections: Detections,
    *,
    images: StrPath | None = None,
    ignore_regions: IgnoreRegions = "drop",
    study: Study | None = None,
    title: str = "Evaluation",
    about: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``report.html``, ``metrics.json``, ``per_class.csv`` and ``scores.json`` of one run.

    Args:
        folder: made if absent; an earlier report is replaced.
        evaluation: of these annotations and detections.
        annotations: the ground truth.
        detections: the predictions.
        images: where the images' file names start, for pictures of the worst; None: no pictures.
        ignore_regions: as they were evaluated.
        study: what was found on a closer look, None: look now, with the defaults.
        title: of the page: what was evaluated on what.
        about: more about it, as words behind the counts.
        progress: see ``sodkit.evaluation.study.study``.

    Returns:
        the path of ``report.html``.

    Raises:
        DataError: a picture's image is missing, undecodable or of another size than annotated.
        UsageError: a file cannot be written.
    """
    folder = Path(folder)
    images = None if images is None else Path(images)
    if study is None:
        study = look_closely(
            evaluation, annotations, detections, ignore_regions=ignore_regions, name=title,
            progress=progress,
        )  # fmt: skip
    run, labels = study.intervals.names[0], largest_classes(evaluation)
    pictures = thumbnails(annotations, detections, study, images) if images is not None else []
    limit = main_metric(evaluation.protocol).max_dets
    text = render_page(
        "report.html.j2",
        title=title,
        tab=_tab(title, evaluation),
        about=about,
        version=__version__,
        evaluation=evaluation,
        gaps=gaps(evaluation, annotations, detections),
        protocol=evaluation.protocol,
        main=evaluation.protocol.areas[0],
        limit=limit,
        study=study,
        intervals=study.intervals.intervals[run],
        ignore_regions=ignore_regions,
        records=[annotations.images[one.index] for one in study.worst],
        pictures=pictures,
        errors=worst_errors(study, annotations),
        charts=_charts(evaluation),
        areas=[area.name for area in evaluation.protocol.areas],
        **_class_tables(evaluation, labels),
        **_score_values(study, detections, labels),
        losses=_losses([study.tide]),
        matrix=confusion_table(study.confusion),
        explained=EXPLAINED,
    )
    write_text(folder / NAME, text)
    write_metrics(folder, evaluation.as_dict() | study.as_dict(), {run: evaluation})
    write_class_scores(folder / class_scores.NAME, study.curves.best)
    return folder / NAME


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
    text = render_page(
        "comparison.html.j2",
        title=title,
        tab=_tab(title, runs[0].evaluation),
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
        charts=_comparison_charts(runs),
        losses=_losses([_tide(annotations, run, ignore_regions) for run in runs]),
        explained=EXPLAINED,
    )
    write_text(folder / NAME, text)
    data = comparison_data(runs, comparison)
    write_metrics(folder, data, {run.name: run.evaluation for run in runs})
    return folder / NAME


def mean_precision(evaluation: Evaluation, iou: float, area: int, classes: list[int]) -> FloatArray:
    """Return the precision (R,), mean over the classes with objects; empty if there are none.

    At the limit of the protocol's main AP.
    """
    protocol = evaluation.protocol
    m = protocol.max_dets.index(main_metric(protocol).max_dets)
    table = evaluation.curves.precision[protocol.iou_indices(iou)[0], :, :, area, m][:, classes]
    defined = table[:, ~np.isnan(table).any(axis=0)]
    return defined.mean(axis=1) if defined.shape[1] else np.zeros(0)


def _tab(title: str, evaluation: Evaluation) -> str:
    """Return what the browser shows as the page's name."""
    return f"{title}: {evaluation.protocol.name}, {evaluation.counts.images} images"


def _class_tables(evaluation: Evaluation, labels: Sequence[int]) -> dict[str, object]:
    """Return what the table of classes shows."""
    return {
        "labels": labels,
        "columns": metric_columns([evaluation]),
        "sparklines": [_class_line(evaluation, label) for label in labels],
        "objects": evaluation.positives[:, 0].tolist(),
    }


def _score_values(study: Study, detections: Detections, labels: Sequence[int]) -> dict[str, object]:
    """Return what is shown against the score."""
    return {
        "best": study.curves.everything.best,
        "lowest": float(detections.scores.min()) if len(detections) else None,
        "score_lines": COLOURS,
        "score_chart": score_chart(study.curves.everything),
        "calibration_chart": calibration_chart(study.calibration),
        "score_rows": score_rows(study.curves, labels),
    }


def worst_errors(study: Study, annotations: Annotations) -> list[tuple[ClassErrors, ...]]:
    """Return for each of the worst images the classes that went wrong."""
    return [
        class_errors(study.outcomes, annotations, one.index, study.score) for one in study.worst
    ]


def _charts(evaluation: Evaluation) -> list[tuple[str, Markup]]:
    """Return captioned charts: precision and recall by size, AP by threshold."""
    everything = list(range(len(evaluation.classes)))
    areas = list(enumerate(evaluation.protocol.areas))
    charts = []
    for iou in _chart_ious(evaluation.protocol):
        lines = [
            (area.name, mean_precision(evaluation, iou, a, everything), a) for a, area in areas
        ]
        charts.append((f"IoU {iou:g}", _recall_chart(evaluation.protocol, lines, iou)))
    lines = [(area.name, _ap_by_iou(evaluation, a), a) for a, area in areas]
    return [*charts, ("AP by IoU threshold", _iou_chart(evaluation.protocol, lines))]


def _comparison_charts(runs: Sequence[Run]) -> list[tuple[str, Markup]]:
    """Return captioned charts of the main area range, one line a run."""
    protocol = runs[0].evaluation.protocol
    everything = list(range(len(runs[0].evaluation.classes)))
    charts = []
    for iou in _chart_ious(protocol):
        lines = [
            (run.name, mean_precision(run.evaluation, iou, 0, everything), colour)
            for colour, run in enumerate(runs)
        ]
        charts.append((f"IoU {iou:g}", _recall_chart(protocol, lines, iou)))
    lines = [(run.name, _ap_by_iou(run.evaluation, 0), c) for c, run in enumerate(runs)]
    return [*charts, ("AP by IoU threshold", _iou_chart(protocol, lines))]


def _chart_ious(protocol: Protocol) -> list[float]:
    """Return the thresholds whose curves are shown: those of AP50 and AP75, if measured."""
    return [iou for iou in (0.5, 0.75) if np.isclose(protocol.ious, iou).any()]


def _recall_chart(
    protocol: Protocol, lines: Sequence[tuple[str, FloatArray, int]], iou: float
) -> Markup:
    recalls = np.array(protocol.recalls)
    series = [Series(name, recalls, y, colour) for name, y, colour in lines if len(y)]
    label = f"precision against recall at IoU {iou:g}"
    return line_chart(series, x_label="recall", y_label="precision", label=label)


def _iou_chart(protocol: Protocol, lines: Sequence[tuple[str, FloatArray, int]]) -> Markup:
    ious = np.array(protocol.ious)
    series = [Series(name, ious, y, colour) for name, y, colour in lines if len(y)]
    return line_chart(
        series,
        x_label="IoU threshold",
        y_label="AP",
        x_range=(float(ious[0]), float(ious[-1])),
        x_ticks=[float(iou) for iou in ious[::2]],
        label="AP against the IoU threshold",
    )


def _ap_by_iou(evaluation: Evaluation, area: int) -> FloatArray:
    """Return AP (T,) over all classes at each threshold; empty if there are no objects."""
    everything = list(range(len(evaluation.classes)))
    values = [mean_precision(evaluation, iou, area, everything) for iou in evaluation.protocol.ious]
    return np.array([one.mean() for one in values]) if len(values[0]) else np.zeros(0)


def _class_line(evaluation: Evaluation, label: int) -> Markup:
    """Return a class's precision against recall at IoU .5 as a sparkline."""
    values = mean_precision(evaluation, 0.5, 0, [label])
    if not len(values):
        return Markup("")
    return sparkline(values, f"precision against recall of {evaluation.classes[label]}")


def _tide(annotations: Annotations, run: Run, ignore_regions: IgnoreRegions) -> Tide:
    protocol = run.evaluation.protocol
    matching = match_classes(annotations, run.detections, protocol, ignore_regions=ignore_regions)
    found = outcomes(annotations, run.detections, matching, protocol)
    return find_errors(annotations, run.detections, found, protocol)


def _losses(tides: Sequence[Tide]) -> list[dict[str, object]]:
    """Return one entry for each error type: for each run dAP, length of its bar, and count."""
    longest = max([tide.gain[name] or 0.0 for tide in tides for name in ERRORS] + [1e-9])
    return [
        {
            "name": name,
            "bars": [
                {
                    "gain": tide.gain[name],
                    "length": 100 * (tide.gain[name] or 0.0) / longest,
                    "count": tide.count[name],
                }
                for tide in tides
            ],
        }
        for name in ERRORS
    ]
