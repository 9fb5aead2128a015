"""What tables of an evaluation leave out: repeated columns, undefined ones, and all but some rows.

And what an evaluation could not measure, in sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sodkit.arrays import IntArray
from sodkit.data.naming import listed
from sodkit.data.records import Annotations, Detections
from sodkit.evaluation.evaluate import Evaluation, ignored_by
from sodkit.evaluation.protocol import Metric

LIMIT = 100
"""So many classes a table shows at most."""


@dataclass(frozen=True, slots=True)
class Column:
    """A metric, and what stands above it: its name, and those of later ones that repeat it."""

    metric: str
    title: str


def metric_columns(evaluations: Sequence[Evaluation]) -> list[Column]:
    """Return the metrics of evaluations by one protocol that tell something.

    Metrics that differ in their limit of detections alone, and have the same value everywhere,
    stand in one column; those that are undefined everywhere in none.
    """
    columns: dict[tuple[object, ...], list[str]] = {}
    for metric in evaluations[0].protocol.metrics:
        values = _values(evaluations, metric)
        if any(value is not None for value in values):
            own = (metric.kind, metric.area, metric.iou, *values)
            columns.setdefault(own, []).append(metric.name)
    return [Column(names[0], _joined(names)) for names in columns.values()]


def largest_classes(evaluation: Evaluation, limit: int = LIMIT) -> list[int]:
    """Return the labels of the classes with most objects that count, ascending."""
    order = np.argsort(-evaluation.positives[:, 0], kind="stable")
    return sorted(order[:limit].tolist())


def gaps(evaluation: Evaluation, annotations: Annotations, detections: Detections) -> list[str]:
    """Return a sentence about each thing that is missing, and what follows from it."""
    counts, images = evaluation.counts, len(annotations.images)
    found = []
    if not counts.objects:
        found.append("There are no objects that count: no AP can be measured.")
    if not counts.detections:
        found.append("There are no detections: every object is missed.")
    if images == 1:
        found.append("There is one image: nothing says how other images would differ.")
    counting = ~annotations.is_region & ~ignored_by(evaluation.protocol, annotations)
    empty = images - len(np.unique(annotations.image_index[counting]))
    if counts.objects and empty:
        found.append(f"{empty} of {images} images have no objects that count.")
    if counts.objects:
        found += [*_without_size(evaluation), *_without_class(evaluation, detections)]
    return found


def _without_size(evaluation: Evaluation) -> list[str]:
    areas = evaluation.protocol.areas
    objects = evaluation.positives.sum(axis=0)
    missing = [area.name for area, n in zip(areas, objects, strict=True) if not n]
    return [
        f"There are no objects of the size {name}: its metrics are undefined." for name in missing
    ]


def _without_class(evaluation: Evaluation, detections: Detections) -> list[str]:
    """Say which classes have no objects in the main range, and which have no detections."""
    objects: IntArray = evaluation.positives[:, 0]
    classes, main = evaluation.classes, evaluation.protocol.areas[0].name
    predicted = np.bincount(detections.labels, minlength=len(classes))
    absent = [name for name, n in zip(classes, objects, strict=True) if not n]
    silent = [name for name, n, m in zip(classes, objects, predicted, strict=True) if n and not m]
    found = []
    if absent:
        found.append(
            f"{len(absent)} of {len(classes)} classes have no objects in {main} and are in no "
            f"mean: {listed(absent)}."
        )
    if silent and len(detections):
        found.append(
            f"{len(silent)} of {len(classes)} classes have objects and no detections: "
            f"{listed(silent)}."
        )
    return found


def _values(evaluations: Sequence[Evaluation], metric: Metric) -> list[float | None]:
    """Return a metric of every evaluation and class."""
    return [
        values[metric.name]
        for one in evaluations
        for values in (one.metrics, *one.per_class.values())
    ]


def _joined(names: Sequence[str]) -> str:
    """Return names as one: AR@100, AR@300 -> AR@100, 300."""
    start = names[0].rpartition("@")[0]
    if len(names) == 1 or not start:
        return ", ".join(names)
    return ", ".join([names[0], *(name.removeprefix(f"{start}@") for name in names[1:])])
