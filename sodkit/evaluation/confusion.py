"""Which class is taken for which: a confusion matrix at one IoU and one score.

Detections of all classes, best first, take the free object of their image with the highest IoU
that reaches the threshold, whatever its class; an object that counts beats one that does not. So an
object is in one cell only, and a second detection of it, right or wrong in class, is a detection
of background.

Objects count as in the metrics of the protocol's main range (SODA's Small: up to 1024 px^2).
Detections that take an ignored object or one of another size are in no cell; neither are
unmatched detections whose own area lies outside the range, or that a region absorbs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sodkit.arrays import IntArray
from sodkit.data.records import Annotations, Detections
from sodkit.errors import UsageError
from sodkit.evaluation.evaluate import IgnoreRegions, match_detections
from sodkit.evaluation.protocol import Protocol


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """Counts of K classes and background.

    Attributes:
        classes: the K names.
        matrix: (K + 1, K + 1) [truth, prediction]; the last row is background (false alarms), the
            last column nothing (missed objects); their corner is 0.
        iou: the threshold.
        score: detections below were left out.
        uncounted: detections that are in no cell.
    """

    classes: tuple[str, ...]
    matrix: IntArray
    iou: float
    score: float
    uncounted: int

    def __repr__(self) -> str:
        return (
            f"<Confusion of {len(self.classes)} classes: {int(self.matrix.sum())} counted, "
            f"IoU {self.iou:g}, score {self.score:.3g}>"
        )

    def as_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {
            "iou": self.iou,
            "score": self.score,
            "rows": [*self.classes, "background"],
            "columns": [*self.classes, "missed"],
            "matrix": self.matrix.tolist(),
            "uncounted": self.uncounted,
        }


def confusion_matrix(
    annotations: Annotations,
    detections: Detections,
    protocol: Protocol,
    *,
    score: float,
    iou: float = 0.5,
    ignore_regions: IgnoreRegions = "drop",
) -> Confusion:
    """Count which class is taken for which.

    Args:
        annotations: the ground truth.
        detections: boxes of the same kind, as ``evaluate`` accepts them.
        protocol: gives the area range: its first.
        score: detections below are left out, in [0, 1].
        iou: threshold of the overlap, in (0, 1].
        ignore_regions: see ``evaluate``.

    Raises:
        UsageError: a threshold out of range.
    """
    if not (0 <= score <= 1 and 0 < iou <= 1):
        raise UsageError(f"no confusion matrix at IoU {iou} and score {score}")
    kept = detections.take(detections.scores >= score)
    every = max(len(kept), 1)
    alone = replace(protocol, ious=(iou,), areas=protocol.areas[:1], max_dets=(every,), metrics=())
    matching = match_detections(
        annotations,
        kept,
        alone,
        np.zeros(len(annotations), np.int64),
        np.zeros(len(kept), np.int64),
        1,
        ignore_regions=ignore_regions,
    )
    count = len(annotations.categories)
    matrix = np.zeros((count + 1, count + 1), np.int64)
    truth = annotations.labels[matching.objects.rows]
    predicted = kept.labels[matching.detections.rows]
    matches = matching.matches
    right, taken = matches.right[:, 0] != 0, matches.taken[:, 0] != 0
    target = matches.target[right, 0]
    np.add.at(matrix, (truth[target], predicted[matches.detection[right]]), 1)
    false = (matching.counted & np.uint32(1)) != 0
    false[matches.detection[taken]] = False
    matrix[count, :count] = np.bincount(predicted[false], minlength=count)
    missed = ~matching.ignored[:, 0]
    missed[target] = False
    matrix[:count, count] = np.bincount(truth[missed], minlength=count)
    names = tuple(category.name for category in annotations.categories)
    uncounted = len(kept) - int(right.sum()) - int(false.sum())
    return Confusion(names, matrix, iou, score, uncounted)
