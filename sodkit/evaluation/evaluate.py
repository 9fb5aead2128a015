"""Detections of whole images against annotations: the metrics of a protocol, exactly.

The way: sort into groups (``tables``), find the pairs that overlap enough and match them greedily
(``matching``), count them along the scores (``curves``), average.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from sodkit.arrays import BitArray, BoolArray, FloatArray, IntArray
from sodkit.data.records import CROWD, IGNORED, REGION, Annotations, Detections
from sodkit.errors import DataError
from sodkit.evaluation.curves import Curves, draw_curves
from sodkit.evaluation.matching import Candidates, Matches, find_candidates, match
from sodkit.evaluation.protocol import Metric, Protocol
from sodkit.evaluation.regions import absorbed
from sodkit.evaluation.tables import Table, detection_table, object_table
from sodkit.table_text import TextTable, number

IgnoreRegions = Literal["drop", "absorb"]
Metrics = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Counts:
    """What was evaluated, and what was not.

    Attributes:
        images: images, with or without objects.
        objects: objects that are not ignored.
        ignored: ignored objects, without regions.
        regions: ignore regions.
        detections: all that were given.
        beyond: left out: more of a class and image than the protocol's largest limit.
        absorbed: of no account if unmatched, because they lie in an ignore region.
    """

    images: int
    objects: int
    ignored: int
    regions: int
    detections: int
    beyond: int
    absorbed: int


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """The result; None (tables: NaN) where a metric has no object to be measured on.

    Attributes:
        protocol: what was measured.
        classes: names of the K classes, in label order.
        metrics: means over classes by name, in [0, 1].
        per_class: the same of each class, by its name.
        positives: (K, A) objects that count by class and area range.
        curves: precision, recall and score tables.
        counts: how much was evaluated.
    """

    protocol: Protocol
    classes: tuple[str, ...]
    metrics: Metrics
    per_class: dict[str, Metrics]
    positives: IntArray
    curves: Curves
    counts: Counts

    def __repr__(self) -> str:
        name, value = self.first
        return (
            f"<Evaluation by {self.protocol.name}: {name} {value}, {self.counts.images} images, "
            f"{self.counts.objects} objects, {self.counts.detections} detections>"
        )

    @property
    def first(self) -> tuple[str, str]:
        """The name of the protocol's first metric, and its value as text."""
        name = self.protocol.metrics[0].name
        return name, number(self.metrics[name], ".3f") or "undefined"

    def table(self) -> TextTable:
        """Return the metrics of all classes and of each as ``sodkit eval`` prints them."""
        counts = self.counts
        title = (
            f"{self.protocol.name}: {counts.images} images, {counts.objects} objects,"
            f" {counts.detections} detections"
        )
        names = [metric.name for metric in self.protocol.metrics]
        rows = [
            (name, *(number(values[metric], ".3f") for metric in names))
            for name, values in [("all", self.metrics), *self.per_class.items()]
        ]
        return TextTable(title, ("class", *names), rows)

    def _repr_html_(self) -> str:
        return self.table().html()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, as ``eval --json`` prints it; undefined is None."""
        return {
            "protocol": self.protocol.name,
            "metrics": self.metrics,
            "per_class": self.per_class,
            "counts": asdict(self.counts),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """The tables of an evaluation and what was matched, for a closer look.

    Attributes:
        objects: the objects in groups; ``rows`` leads back to the annotations.
        detections: the detections in groups; ``rows`` leads back to the detections.
        ignored: (G, A) the object does not count in the range.
        counted: (N,) bit a: the detection is wrong in range a if it matches nothing.
        absorbed: (N,) in an ignore region.
        candidates: the overlapping pairs.
        matches: what was matched.
    """

    objects: Table
    detections: Table
    ignored: BoolArray
    counted: BitArray
    absorbed: BoolArray
    candidates: Candidates
    matches: Matches


def evaluate(
    annotations: Annotations,
    detections: Detections,
    protocol: Protocol,
    *,
    ignore_regions: IgnoreRegions = "drop",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure detections of whole images.

    Args:
        annotations: the ground truth; its categories are the classes.
        detections: boxes of the same kind, labels of these classes, any order.
        protocol: what to measure.
        ignore_regions: ``drop``: regions play no part. ``absorb``: unmatched detections with more
            than half of their area inside one do not count as wrong.
        progress: called with work done and all work.

    Raises:
        DataError: two images with one id, a detection of an unknown image or class, a number that
            is not finite, or horizontal boxes against oriented ones.
    """
    check_inputs(annotations, detections)
    count = len(annotations.categories)
    matching = match_detections(
        annotations,
        detections,
        protocol,
        annotations.labels,
        detections.labels,
        count,
        ignore_regions=ignore_regions,
        progress=progress,
    )
    positives = count_positives(matching, count)
    curves = curves_of(matching, detections, positives, protocol)
    classes = tuple(category.name for category in annotations.categories)
    per_class = {
        name: {
            metric.name: mean_metric(metric, protocol, curves, [k]) for metric in protocol.metrics
        }
        for k, name in enumerate(classes)
    }
    everything = list(range(count))
    metrics = {one.name: mean_metric(one, protocol, curves, everything) for one in protocol.metrics}
    counts = count_up(annotations, detections, matching, protocol)
    return Evaluation(protocol, classes, metrics, per_class, positives, curves, counts)


def match_detections(
    annotations: Annotations,
    detections: Detections,
    protocol: Protocol,
    object_classes: IntArray,
    detection_classes: IntArray,
    count: int,
    *,
    ignore_regions: IgnoreRegions = "drop",
    progress: Callable[[int, int], None] | None = None,
) -> Matching:
    """Sort, pair and match; the classes are arguments so that proposals can share one.

    Args:
        annotations: checked.
        detections: checked, boxes of the same kind.
        protocol: gives thresholds, ranges, limits.
        object_classes: (annotations,) class of each; regions are left out whatever it says.
        detection_classes: (detections,) class of each.
        count: number of classes.
        ignore_regions: see ``evaluate``.
        progress: see ``evaluate``.
    """
    rows = np.flatnonzero(~annotations.is_region)
    objects = object_table(annotations, rows, object_classes[rows], count)
    table = detection_table(
        annotations, detections, detection_classes, count, protocol.max_dets[-1]
    )
    flags = ignored_by(protocol, annotations)[objects.rows]
    crowd = flags if protocol.crowd else np.zeros_like(flags)
    ignored = flags[:, None] | ~_in_ranges(objects.area, protocol)
    counted = _range_bits(table.area, protocol)
    inside = np.zeros(len(table), np.bool_)
    if ignore_regions == "absorb":
        inside = absorbed(annotations, table)
        counted[inside] = 0
    candidates = find_candidates(objects, table, crowd, protocol.ious[0], progress)
    matches = match(objects, candidates, ignored, crowd, np.array(protocol.ious))
    return Matching(objects, table, ignored, counted, inside, candidates, matches)


def ignored_by(protocol: Protocol, annotations: Annotations) -> BoolArray:
    """Return (N,) which annotations a protocol ignores: SODA by ``ignore``, COCO by ``iscrowd``."""
    return annotations.flagged(CROWD if protocol.crowd else IGNORED)


def curves_of(
    matching: Matching, detections: Detections, positives: IntArray, protocol: Protocol
) -> Curves:
    """Return precision and recall of what was matched; ``positives`` as ``count_positives``."""
    scores = np.ascontiguousarray(detections.scores[matching.detections.rows], np.float64)
    return draw_curves(
        matching.detections, scores, matching.matches, matching.counted, positives, protocol
    )


def count_positives(matching: Matching, count: int) -> IntArray:
    """Return the objects (K, A) that count, by class and area range."""
    sizes = np.diff(matching.objects.offsets)
    one = np.repeat(np.arange(len(sizes)) % max(count, 1), sizes)
    by_range = [np.bincount(one[~column], minlength=count) for column in matching.ignored.T]
    return np.stack(by_range, axis=1)[:count]


def _in_ranges(area: FloatArray, protocol: Protocol) -> BoolArray:
    """Return (N, A): inside each area range, both ends included."""
    lows = np.array([one.low for one in protocol.areas])
    highs = np.array([one.high for one in protocol.areas])
    return np.asarray((area[:, None] >= lows) & (area[:, None] <= highs))


def _range_bits(area: FloatArray, protocol: Protocol) -> BitArray:
    """Return (N,) bit a: inside area range a, both ends included."""
    bits = np.zeros(len(area), np.uint32)
    for a, one in enumerate(protocol.areas):
        bits |= ((area >= one.low) & (area <= one.high)).astype(np.uint32) << np.uint32(a)
    return bits


def mean_metric(
    metric: Metric, protocol: Protocol, curves: Curves, classes: list[int]
) -> float | None:
    """Return a metric over classes; None if none of them has an object."""
    a, m = protocol.area_index(metric.area), protocol.max_dets.index(metric.max_dets)
    table = curves.precision if metric.kind == "AP" else curves.recall
    values = table[..., classes, a, m][protocol.iou_indices(metric.iou)]
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def check_inputs(
    annotations: Annotations, detections: Detections, *, labelled: bool = True
) -> None:
    """Raise DataError for what cannot be measured; ``labelled``: look at the classes too."""
    if len(detections) and annotations.kind != detections.kind:
        raise DataError(
            f"the annotations are {annotations.kind}, the predictions {detections.kind}",
            hint="--boxes horizontal compares the enclosing boxes of both",
        )
    boxes = detections.xywh if detections.obb is None else detections.obb
    fine = np.isfinite(detections.scores).all() and np.isfinite(boxes).all()
    if not (fine and boxes[:, 2:4].min(initial=0.0) >= 0):
        bad = ~(np.isfinite(detections.scores) & np.isfinite(boxes).all(axis=1))
        bad |= (boxes[:, 2:4] < 0).any(axis=1)
        row = int(np.argmax(bad))
        raise DataError(
            "a score or box is not finite, or a size negative",
            where=f"detection {row} (image_id {detections.image_ids[row]})",
        )
    count = len(annotations.categories)
    if not labelled:
        return
    if (wrong := _first_outside(annotations.labels, REGION, count)) is not None:
        raise DataError(
            f"label {annotations.labels[wrong]} is no class ({count} classes)",
            where=f"annotation {annotations.ids[wrong]}",
        )
    if (wrong := _first_outside(detections.labels, 0, count)) is not None:
        raise DataError(
            f"label {detections.labels[wrong]} is no class of the annotations ({count} classes)",
            where=f"detection {wrong} (image_id {detections.image_ids[wrong]})",
        )


def _first_outside(labels: IntArray, low: int, end: int) -> int | None:
    """Return the first row whose label is not in ``low`` .. ``end - 1``, None if all are."""
    if labels.min(initial=low) >= low and labels.max(initial=end - 1) < end:
        return None
    return int(np.argmax((labels < low) | (labels >= end)))


def count_up(
    annotations: Annotations, detections: Detections, matching: Matching, protocol: Protocol
) -> Counts:
    """Return how much was evaluated and what was left out."""
    is_object = ~annotations.is_region
    ignored = ignored_by(protocol, annotations)
    return Counts(
        images=len(annotations.images),
        objects=int((is_object & ~ignored).sum()),
        ignored=int((is_object & ignored).sum()),
        regions=int(annotations.is_region.sum()),
        detections=len(detections),
        beyond=matching.detections.beyond,
        absorbed=int(matching.absorbed.sum()),
    )
