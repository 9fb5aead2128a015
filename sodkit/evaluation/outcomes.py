"""What became of every detection and object at one IoU threshold, in the main area range.

The protocol's curves do not say which detection was wrong, nor which object was missed. Here the
evaluation's own matching is read off as flat columns, to find where the AP is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.records import Annotations, Detections
from sodkit.evaluation.evaluate import IgnoreRegions, Matching, match_detections
from sodkit.evaluation.protocol import Metric, Protocol
from sodkit.evaluation.tables import Table


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """Detections that AP looks at, image by image and class by class, best first; and objects.

    A detection that is neither right nor wrong matched an ignored object, or matched nothing and
    has an area outside the main range or lies in an absorbing region.

    Attributes:
        detection: (N,) rows of the detections.
        image: (N,) indices into ``annotations.images``.
        label: (N,) class indices.
        score: (N,) scores.
        right: (N,) matched an object that counts.
        wrong: (N,) matched nothing and counts.
        target: (N,) row of the annotation that was matched, -1: none.
        object: (G,) rows of the annotations: all objects, also ignored ones, without regions.
        counts: (G,) not ignored and in the main range.
        found: (G,) counts, and one of the detections above matched it.
    """

    detection: IntArray
    image: IntArray
    label: IntArray
    score: FloatArray
    right: BoolArray
    wrong: BoolArray
    target: IntArray
    object: IntArray
    counts: BoolArray
    found: BoolArray

    def __repr__(self) -> str:
        return (
            f"<Outcomes: {self.right.sum()} right and {self.wrong.sum()} wrong detections, "
            f"{self.found.sum()} of {self.counts.sum()} objects found>"
        )


def main_metric(protocol: Protocol) -> Metric:
    """Return the AP whose area range is the protocol's first, the *main* one.

    Raises:
        ValueError: the protocol measures no AP there.
    """
    name = protocol.areas[0].name
    for metric in protocol.metrics:
        if metric.kind == "AP" and metric.area == name:
            return metric
    raise ValueError(f"protocol {protocol.name} has no AP over {name}")


def match_classes(
    annotations: Annotations,
    detections: Detections,
    protocol: Protocol,
    *,
    ignore_regions: IgnoreRegions = "drop",
    progress: Callable[[int, int], None] | None = None,
) -> Matching:
    """Match every class as ``evaluate`` does; arguments as there, already checked by it."""
    return match_detections(
        annotations,
        detections,
        protocol,
        annotations.labels,
        detections.labels,
        len(annotations.categories),
        ignore_regions=ignore_regions,
        progress=progress,
    )


def image_order(annotations: Annotations) -> IntArray:
    """Return the indices (I,) of the images in ascending order of their ids, as tables have it."""
    return np.argsort([image.id for image in annotations.images], kind="stable").astype(np.int64)


def table_groups(table: Table) -> IntArray:
    """Return the group (N,) of each row of a table."""
    return np.repeat(np.arange(len(table.offsets) - 1), np.diff(table.offsets))


def outcomes(
    annotations: Annotations,
    detections: Detections,
    matching: Matching,
    protocol: Protocol,
    *,
    iou: float = 0.5,
) -> Outcomes:
    """Read off what the matching made of each detection and object.

    Args:
        annotations: what was matched against.
        detections: what was matched.
        matching: of these two under ``protocol``.
        protocol: its first area range is looked at, with the limit of its AP.
        iou: one of the protocol's thresholds.

    Raises:
        ValueError: ``iou`` is none of the thresholds.
    """
    table, matches = matching.detections, matching.matches
    t = protocol.iou_indices(iou)[0]
    bit = np.uint32(1) << np.uint32(t)
    count = len(table)
    right, taken = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    target = np.full(count, -1, np.int64)
    right[matches.detection] = (matches.right[:, 0] & bit) != 0
    taken[matches.detection] = (matches.taken[:, 0] & bit) != 0
    target[matches.detection] = matches.target[:, t]
    wrong = ((matching.counted & np.uint32(1)) != 0) & ~taken
    group = table_groups(table)
    kept = np.arange(count) - table.offsets[group] < main_metric(protocol).max_dets
    found = np.zeros(len(matching.objects), np.bool_)
    found[target[kept & right]] = True
    rows = table.rows[kept]
    place = target[kept]
    known = np.append(matching.objects.rows, -1)  # place -1: no match
    return Outcomes(
        detection=rows,
        image=image_order(annotations)[group[kept] // max(table.classes, 1)],
        label=detections.labels[rows],
        score=detections.scores[rows],
        right=right[kept],
        wrong=wrong[kept],
        target=known[place],
        object=matching.objects.rows,
        counts=~matching.ignored[:, 0],
        found=found,
    )
