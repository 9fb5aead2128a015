"""Precision against recall, and AP against the IoU threshold, as charts of a page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from sodkit.arrays import FloatArray
from sodkit.evaluation.compare import Run
from sodkit.evaluation.evaluate import Evaluation
from sodkit.evaluation.outcomes import main_metric
from sodkit.evaluation.protocol import Protocol
from sodkit.viz.svg import Series, line_chart, sparkline


def mean_precision(evaluation: Evaluation, iou: float, area: int, classes: list[int]) -> FloatArray:
    """Return the precision (R,), mean over the classes with objects; empty if there are none.

    At the limit of the protocol's main AP.
    """
    protocol = evaluation.protocol
    m = protocol.max_dets.index(main_metric(protocol).max_dets)
    table = evaluation.curves.precision[protocol.iou_indices(iou)[0], :, :, area, m][:, classes]
    defined = table[:, ~np.isnan(table).any(axis=0)]
    return defined.mean(axis=1) if defined.shape[1] else np.zeros(0)


def size_charts(evaluation: Evaluation) -> list[tuple[str, Markup]]:
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


def run_charts(runs: Sequence[Run]) -> list[tuple[str, Markup]]:
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


def class_line(evaluation: Evaluation, label: int) -> Markup:
    """Return a class's precision against recall at IoU .5 as a sparkline."""
    values = mean_precision(evaluation, 0.5, 0, [label])
    if not len(values):
        return Markup("")
    return sparkline(values, f"precision against recall of {evaluation.classes[label]}")
