"""``report.html`` of a training run: curves, confusion, pictures, settings, environment.

It is written from the run's files, so it can be made of a run that was stopped as well. One file
that needs nothing else, under the content security policy of ``page.py``.
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup

from sodkit._version import __version__
from sodkit.arrays import FloatArray
from sodkit.config import load_recipe
from sodkit.data.images.decoding import encode, read_image
from sodkit.engine.environment import environment
from sodkit.engine.run_folder import METRICS, RECIPE
from sodkit.engine.validation import Validated
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import Protocol, protocol_of
from sodkit.evaluation.study import study
from sodkit.files import write_text
from sodkit.viz import batch_picture
from sodkit.viz.confusion_table import confusion_table
from sodkit.viz.page import render_page
from sodkit.viz.report import worst_errors
from sodkit.viz.svg import FIFTHS, Series, line_chart, round_ticks
from sodkit.viz.thumbnails import Thumbnail, thumbnails

NAME = "report.html"
POINTS = 200
"""A curve shows means of so many stretches of the run at most."""
WIDTH = 1600
"""Of the picture of batches in px."""
PICTURES = 4
QUALITY = 80

Columns = Mapping[str, FloatArray]
"""A CSV file's columns of numbers; what is empty there is NaN."""


def write_run_report(run: Path, validated: Validated | None = None) -> Path:
    """Write ``report.html`` into a run's folder.

    Args:
        run: the folder.
        validated: what was found on the validation images; None: there are none.

    Returns:
        the path of the file.

    Raises:
        DataError: a validation image cannot be read.
        UsageError: the recipe cannot be read, or the file cannot be written.
    """
    recipe = load_recipe(str(run / RECIPE))
    protocol = protocol_of(recipe.evaluation, recipe.boxes)
    steps, epochs = read_columns(run / "losses.csv"), read_columns(run / METRICS)
    text = render_page(
        "run.html.j2",
        title=run.resolve().name,
        version=__version__,
        protocol=protocol,
        main=protocol.areas[0],
        recipe=recipe,
        settings=(run / RECIPE).read_text("utf-8"),
        best=best_epoch(epochs, recipe.schedule.metric),
        facts=_facts(steps, epochs, read_columns(run / "times.csv")),
        loss_names=loss_names(steps),
        loss_charts=loss_charts(steps),
        metric_charts=metric_charts(epochs),
        batches=_picture(run / batch_picture.NAME),
        validation=None if validated is None else _validation(validated, protocol),
        environment=environment(),
    )
    write_text(run / NAME, text)
    return run / NAME


def read_columns(path: Path) -> Columns:
    """Return the columns of a run's CSV file; no columns if there is no such file."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0]) if rows else []
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def best_epoch(epochs: Columns, metric: str) -> dict[str, float | None] | None:
    """Return the row of the epoch that is best in a metric, with None for what is undefined."""
    values = epochs.get(metric, np.zeros(0))
    if not len(values) or np.isnan(values).all():
        return None
    row = int(np.nanargmax(values))
    cells = {name: float(column[row]) for name, column in epochs.items()}
    return {name: None if np.isnan(value) else value for name, value in cells.items()}


def loss_names(steps: Columns) -> list[str]:
    """Return the names of the losses, their sum first."""
    parts = [name for name in steps if name.startswith("loss_")]
    return (["loss"] if "loss" in steps else []) + parts


def loss_charts(steps: Columns) -> list[tuple[str, Markup]]:
    """Return captioned charts against the step: of the losses, and of the learning rate."""
    names = loss_names(steps)
    charts = []
    if names:
        curves = [Series(n, *_means(steps["step"], steps[n]), k) for k, n in enumerate(names)]
        charts.append(("losses", _chart(curves, "step", "loss")))
        rate = Series("lr", *_means(steps["step"], steps["lr"]), 0)
        charts.append(("learning rate", _chart([rate], "step", "learning rate")))
    return charts


def metric_charts(epochs: Columns) -> list[tuple[str, Markup, list[str]]]:
    """Return captioned charts against the epoch, with the names of their lines.

    One of the sizes, one of the others; y from 0 to 1.
    """
    names = [name for name in epochs if name.startswith("AP")]
    groups = (
        ("metrics by size class", [name for name in names if "_" in name]),
        ("metrics", [name for name in names if "_" not in name]),
    )
    charts = []
    for caption, members in groups:
        curves = [
            Series(name, epochs["epoch"][known], epochs[name][known], colour)
            for colour, name in enumerate(members)
            if (known := ~np.isnan(epochs[name])).any()
        ]
        if curves:
            chart = _chart(curves, "epoch", "AP", y=((0.0, 1.0), FIFTHS))
            charts.append((caption, chart, members))
    return charts


def _means(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the means of stretches of equal length; what is not finite is left out."""
    known = np.isfinite(y)
    x, y = x[known], y[known]
    count = max(1, -(-len(x) // POINTS))
    starts = np.arange(0, len(x), count)
    if not len(x):
        return x, y
    sizes = np.diff(np.append(starts, len(x)))
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes


def _chart(
    curves: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    y: tuple[tuple[float, float], tuple[float, ...]] | None = None,
) -> Markup:
    """Return a line chart whose axes fit its curves."""
    xs, ys = (np.concatenate([np.zeros(0), *each]) for each in (
        [one.x for one in curves], [one.y for one in curves]
    ))  # fmt: skip
    x_range, x_ticks = round_ticks(*_ends(xs))
    y_range, y_ticks = y or round_ticks(min(0.0, _ends(ys)[0]), _ends(ys)[1])
    return line_chart(
        curves, x_label=x_label, y_label=y_label, x_range=x_range, x_ticks=x_ticks,
        y_range=y_range, y_ticks=y_ticks, label=f"{y_label} against the {x_label}",
    )  # fmt: skip


def _ends(values: FloatArray) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _facts(steps: Columns, epochs: Columns, times: Columns) -> list[tuple[str, str]]:
    """Return counts of the run with what they count."""
    seconds = float(times["seconds"].sum()) if "seconds" in times else 0.0
    hours, minutes = divmod(round(seconds / 60), 60)
    return [
        (f"{len(epochs.get('epoch', ()))}", "epochs"),
        (f"{len(steps.get('step', ()))}", "steps"),
        (f"{hours} h {minutes:02} min", "training, without validation"),
    ]


def _picture(path: Path) -> Thumbnail | None:
    """Return the picture of batches for the page, None if there is no such file."""
    if not path.is_file():
        return None
    image = read_image(path)
    scale = min(1.0, WIDTH / image.shape[1])
    shape = (round(image.shape[1] * scale), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    data = encode(".jpg", np.ascontiguousarray(small[:, :, ::-1]), options, path)
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    return Thumbnail(source, *shape, "first images of the training, with their boxes")


def _validation(validated: Validated, protocol: Protocol) -> dict[str, object]:
    """Return what the page shows of the validation: confusion and the worst images."""
    annotations, found = validated.annotations, validated.found
    evaluation = evaluate(annotations, found, protocol)
    looked = study(evaluation, annotations, found, worst=PICTURES, resamples=0)
    return {
        "study": looked,
        "matrix": confusion_table(looked.confusion),
        "errors": worst_errors(looked, annotations),
        "records": [annotations.images[one.index] for one in looked.worst],
        "pictures": thumbnails(annotations, found, looked, validated.images),
    }
