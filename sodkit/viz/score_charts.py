"""Precision, recall and F1 against the score, and calibration, as charts and rows of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from sodkit.arrays import FloatArray
from sodkit.evaluation.calibration import Calibration
from sodkit.evaluation.score_curves import SCORES, BestScore, ScoreCurve, ScoreCurves
from sodkit.viz.svg import Series, line_chart, small_chart

COLOURS = {"F1": 0, "precision": 4, "recall": 1}
"""Of the lines, the same in every chart."""
_DIAGONAL = 7


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A class in the table of scores.

    Attributes:
        name: of the class.
        objects: that count.
        chart: small, "" without objects.
        best: the score with the highest F1; None: nothing is right.
    """

    name: str
    objects: int
    chart: Markup
    best: BestScore | None


def score_chart(curve: ScoreCurve) -> Markup:
    """Return precision, recall and F1 against the score, with a dot at the highest F1."""
    lines = _lines(curve)
    if curve.best is not None:
        at = np.array([[curve.best.score], [curve.best.f1]])
        lines = [Series("highest F1", at[0], at[1], COLOURS["F1"]), *lines]
    label = "precision, recall and F1 against the score"
    return line_chart(lines, x_label="least score", y_label="precision, recall, F1", label=label)


def run_score_charts(curves: Mapping[str, ScoreCurve]) -> list[tuple[str, Markup]]:
    """Return captioned charts of F1, precision and recall against the score, one line a run.

    Args:
        curves: of each run, by its name; a dot marks where its F1 is highest.
    """
    return [(name, _run_chart(name, list(curves.items()))) for name in COLOURS]


def _run_chart(name: str, curves: Sequence[tuple[str, ScoreCurve]]) -> Markup:
    """Return the chart of one of the three values."""
    lines, dots = [], []
    for colour, (run, curve) in enumerate(curves):
        y = _values(curve)[name]
        known = ~np.isnan(y)
        if known.any():
            lines.append(Series(run, SCORES[known], y[known], colour))
        if curve.best is not None:
            x, top = np.array([[curve.best.score], [getattr(curve.best, name.lower())]])
            dots.append(Series(f"{run}: highest F1", x, top, colour))
    label = f"{name} against the score"
    return line_chart([*dots, *lines], x_label="least score", y_label=name, label=label)


def score_rows(curves: ScoreCurves, labels: Sequence[int]) -> list[ScoreRow]:
    """Return the rows of some classes; ``labels``: which."""
    every = list(curves.per_class.items())
    return [_row(*every[label]) for label in labels]


def calibration_chart(found: Calibration) -> Markup:
    """Return the share of right detections against their mean score, and the diagonal."""
    known = [one for one in found.bins if one.right is not None]
    x, y = (np.array(values, np.float64) for values in (
        [one.score for one in known], [one.right for one in known]
    ))  # fmt: skip
    ends = np.array([0.0, 1.0])
    lines = [Series("share that is right", x, y, 0), Series("calibrated", ends, ends, _DIAGONAL)]
    label = "share of right detections against their mean score"
    return line_chart(
        [line for line in lines if len(line.x)],
        x_label="mean score", y_label="share that is right", label=label,
    )  # fmt: skip


def _row(name: str, curve: ScoreCurve) -> ScoreRow:
    chart, best = Markup(""), curve.best
    if curve.objects:
        chart = small_chart(
            _lines(curve), best.score if best else None, f"F1 against the score of {name}"
        )
    return ScoreRow(name, curve.objects, chart, best)


def _lines(curve: ScoreCurve) -> list[Series]:
    """Return the three lines, each where it is defined."""
    lines = [_line(name, y) for name, y in _values(curve).items()]
    return [line for line in lines if len(line.x)]


def _values(curve: ScoreCurve) -> dict[str, FloatArray]:
    return {"F1": curve.f1, "precision": curve.precision, "recall": curve.recall}


def _line(name: str, y: FloatArray) -> Series:
    known = ~np.isnan(y)
    return Series(name, SCORES[known], y[known], COLOURS[name])
