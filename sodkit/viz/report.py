"""``report.html``: an evaluation as one file that needs nothing else.

Style, charts and pictures are inside. There is no script, and no address outside the file but that
of the viewer that was written beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sodkit._version import __version__
from sodkit.data import class_scores
from sodkit.data.class_scores import write_class_scores
from sodkit.data.records import Annotations, Detections
from sodkit.errors import UsageError
from sodkit.evaluation.class_table import gaps, largest_classes, metric_columns
from sodkit.evaluation.evaluate import Evaluation, IgnoreRegions
from sodkit.evaluation.metric_files import write_metrics
from sodkit.evaluation.outcomes import main_metric
from sodkit.evaluation.study import Study
from sodkit.evaluation.study import study as look_closely
from sodkit.evaluation.worst import ClassErrors, class_errors
from sodkit.files import StrPath, write_text
from sodkit.viz.confusion_table import confusion_table
from sodkit.viz.loss_rows import EXPLAINED, losses
from sodkit.viz.page import render_page
from sodkit.viz.recall_charts import class_line, size_charts
from sodkit.viz.score_charts import COLOURS, calibration_chart, score_chart, score_rows
from sodkit.viz.thumbnails import thumbnails
from sodkit.viz.viewer import write_worst

NAME = "report.html"


def write_report(
    folder: StrPath,
    evaluation: Evaluation,
    annotations: Annotations,
    detections: Detections,
    *,
    images: StrPath | None = None,
    viewer: bool = False,
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
        viewer: write ``viewer.html`` of the worst images, too, if there are any; each is linked.
        ignore_regions: as they were evaluated.
        study: what was found on a closer look, None: look now, with the defaults.
        title: of the page: what was evaluated on what.
        about: more about it, as words behind the counts.
        progress: see ``sodkit.evaluation.study.study``.

    Returns:
        the path of ``report.html``.

    Raises:
        DataError: a picture's image is missing, undecodable or of another size than annotated.
        UsageError: a file cannot be written, or the viewer has no ``images``.
    """
    folder = Path(folder)
    images = None if images is None else Path(images)
    if viewer and images is None:
        raise UsageError("the viewer needs the images", hint="say where their file names start")
    if study is None:
        study = look_closely(
            evaluation, annotations, detections, ignore_regions=ignore_regions, name=title,
            progress=progress,
        )  # fmt: skip
    run, labels = study.intervals.names[0], largest_classes(evaluation)
    worst = _worst_values(annotations, detections, study, images)
    limit = main_metric(evaluation.protocol).max_dets
    page = None
    if viewer and images is not None and study.worst:
        page = write_worst(annotations, detections, study, images, folder, title).path.name
    text = render_page(
        "report.html.j2",
        title=title,
        tab=tab(title, evaluation),
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
        **worst,
        viewer=page,
        charts=size_charts(evaluation),
        areas=[area.name for area in evaluation.protocol.areas],
        **_class_tables(evaluation, labels),
        **_score_values(study, detections, labels),
        losses=losses([study.tide]),
        matrix=confusion_table(study.confusion),
        explained=EXPLAINED,
    )
    write_text(folder / NAME, text)
    write_metrics(folder, evaluation.as_dict() | study.as_dict(), {run: evaluation})
    write_class_scores(folder / class_scores.NAME, study.curves.best)
    return folder / NAME


def tab(title: str, evaluation: Evaluation) -> str:
    """Return what the browser shows as the page's name."""
    return f"{title}: {evaluation.protocol.name}, {evaluation.counts.images} images"


def _class_tables(evaluation: Evaluation, labels: Sequence[int]) -> dict[str, object]:
    """Return what the table of classes shows."""
    return {
        "labels": labels,
        "columns": metric_columns([evaluation]),
        "sparklines": [class_line(evaluation, label) for label in labels],
        "objects": evaluation.positives[:, 0].tolist(),
    }


def _worst_values(
    annotations: Annotations, detections: Detections, study: Study, images: Path | None
) -> dict[str, object]:
    """Return what is shown of the worst images; ``images``: where their names start."""
    pictures = [] if images is None else thumbnails(annotations, detections, study, images)
    return {
        "records": [annotations.images[one.index] for one in study.worst],
        "pictures": pictures,
        "errors": worst_errors(study, annotations),
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
