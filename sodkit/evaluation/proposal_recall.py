"""Class-agnostic proposals: recall by size class and how many good ones an object gets.

CFINet's Table 4 is average recall at 300 proposals an image; its Figure 4 the mean number of
proposals that overlap an object with IoU > .5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sodkit.data.records import Annotations, Detections
from sodkit.evaluation.evaluate import (
    Counts,
    Matching,
    Metrics,
    check_inputs,
    count_positives,
    count_up,
    curves_of,
    match_detections,
    mean_metric,
)
from sodkit.evaluation.protocol import Metric, Protocol, customise
from sodkit.table_text import TextTable, number

GOOD_IOU = 0.5
"""A proposal is good for an object if their IoU is greater."""


@dataclass(frozen=True, slots=True)
class ProposalEvaluation:
    """Recall of proposals; None where there is no object to measure on.

    Attributes:
        protocol: thresholds, area ranges, and as limits the proposals an image.
        recall: range name -> {N: average recall over all thresholds at N proposals an image}.
        good: range name -> {N: mean number of good proposals of an object among the N best}.
        objects: range name -> objects that count (144, 400 and 1024 px^2 belong to two ranges).
        counts: how much was evaluated.
    """

    protocol: Protocol
    recall: dict[str, dict[int, float | None]]
    good: dict[str, dict[int, float | None]]
    objects: dict[str, int]
    counts: Counts

    def __repr__(self) -> str:
        recall = ", ".join(
            f"{name} {number(value, '.3f') or 'undefined'}"
            for name, value in self.metrics.items()
            if name.startswith("AR@")
        )
        return (
            f"<ProposalEvaluation by {self.protocol.name}: {recall}, {self.counts.images} images>"
        )

    def table(self) -> TextTable:
        """Return objects, recall and good proposals of each size range, as ``eval`` prints them."""
        limits = self.protocol.max_dets
        heads = (*(f"AR@{n}" for n in limits), *(f"IoU>.5 @{n}" for n in limits))
        rows = [
            (
                area.name,
                self.objects[area.name],
                *(number(self.recall[area.name][n], ".3f") for n in limits),
                *(number(self.good[area.name][n], ".2f") for n in limits),
            )
            for area in self.protocol.areas
        ]
        return TextTable(f"proposals, {self.protocol.name}", ("size", "objects", *heads), rows)

    def _repr_html_(self) -> str:
        return self.table().html()

    @property
    def metrics(self) -> Metrics:
        """Everything by name: ``AR@300`` of the main range, ``AR_eS@300``, ``good_eS@300``, ..."""
        main = self.protocol.areas[0].name
        out: Metrics = {}
        for prefix, table in (("AR", self.recall), ("good", self.good)):
            for name, by_limit in table.items():
                stem = prefix if name == main else f"{prefix}_{name}"
                out.update({f"{stem}@{limit}": value for limit, value in by_limit.items()})
        return out

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, as ``eval --proposals --json`` prints it."""
        return {
            "protocol": self.protocol.name,
            "metrics": self.metrics,
            "objects": self.objects,
            "counts": asdict(self.counts),
        }


def evaluate_proposals(
    annotations: Annotations,
    proposals: Detections,
    base: Protocol,
    limits: Sequence[int] = (100, 300, 1000),
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ProposalEvaluation:
    """Measure proposals; classes of objects and labels of proposals play no part.

    Args:
        annotations: the ground truth.
        proposals: boxes of the same kind, any order.
        base: gives thresholds and area ranges.
        limits: proposals an image, best first.
        progress: called with work done and all work.

    Raises:
        DataError: as ``evaluate``.
    """
    if base.ious[0] > GOOD_IOU:
        raise ValueError(f"the lowest threshold must not be above {GOOD_IOU}")
    check_inputs(annotations, proposals, labelled=False)
    protocol = customise(base, base.name, max_dets=limits)
    matching = match_detections(
        annotations,
        proposals,
        protocol,
        np.zeros(len(annotations), np.int64),
        np.zeros(len(proposals), np.int64),
        1,
        progress=progress,
    )
    positives = count_positives(matching, 1)
    curves = curves_of(matching, proposals, positives, protocol)
    recall = {
        area.name: {
            limit: mean_metric(Metric("AR", "AR", area.name, limit), protocol, curves, [0])
            for limit in protocol.max_dets
        }
        for area in protocol.areas
    }
    return ProposalEvaluation(
        protocol,
        recall,
        _good(matching, protocol),
        {area.name: int(positives[0, a]) for a, area in enumerate(protocol.areas)},
        count_up(annotations, proposals, matching, protocol),
    )


def _good(matching: Matching, protocol: Protocol) -> dict[str, dict[int, float | None]]:
    """Count the good proposals of every object, and average over the objects of each range."""
    pairs, table = matching.candidates, matching.detections
    rank = np.arange(len(table)) - np.repeat(table.offsets[:-1], np.diff(table.offsets))
    near = pairs.overlap > GOOD_IOU
    out: dict[str, dict[int, float | None]] = {area.name: {} for area in protocol.areas}
    for limit in protocol.max_dets:
        chosen = pairs.target[near & (rank[pairs.detection] < limit)]
        number = np.bincount(chosen, minlength=len(matching.objects))
        for a, area in enumerate(protocol.areas):
            own = number[~matching.ignored[:, a]]
            out[area.name][limit] = float(own.mean()) if len(own) else None
    return out
