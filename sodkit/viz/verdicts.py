"""What became of objects and detections, for pictures: found, false or missed.

The matching is the evaluation's: by class, the best score first, at an IoU of .5. Objects of every
size count here. What matched an ignored object, or lies in an ignore region, is neither right nor
false. A detection never takes an object from a better one, so one matching holds for every score:
what is below is only left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sodkit.arrays import BoolArray, FloatArray
from sodkit.data.records import Annotations, Detections
from sodkit.evaluation.evaluate import check_inputs
from sodkit.evaluation.outcomes import Outcomes, match_classes, outcomes
from sodkit.evaluation.protocol import customise, protocol_for

IOU = 0.5
NEVER = -1.0
"""The score at which an object is found that no detection matched."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """Of annotations and detections at one score, or of those of one image.

    Attributes:
        missed: (annotations,) objects that count and that no shown detection found.
        right: (detections,) found an object.
        false: (detections,) found nothing.
    """

    missed: BoolArray
    right: BoolArray
    false: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Annotations and detections, matched: their verdicts at every score.

    Attributes:
        counts: (annotations,) objects that are found or missed.
        found_at: (annotations,) the score of the detection that matched it, else ``NEVER``.
        right: (detections,) matched an object that counts.
        false: (detections,) matched nothing and counts.
        scores: (detections,)
    """

    counts: BoolArray
    found_at: FloatArray
    right: BoolArray
    false: BoolArray
    scores: FloatArray

    def at(self, score: float) -> Verdicts:
        """Return the verdicts if only detections of ``score`` and more are there."""
        shown = self.scores >= score
        missed = self.counts & (self.found_at < score)
        return Verdicts(missed, self.right & shown, self.false & shown)


def match(annotations: Annotations, detections: Detections) -> Matched:
    """Match detections with the objects.

    Args:
        annotations: of the images.
        detections: on these images, boxes of the same kind.

    Raises:
        DataError: detections of an image or class that the annotations lack.
    """
    check_inputs(annotations, detections)
    base = protocol_for("horizontal" if annotations.obb is None else "oriented")
    limit = [max(1, len(detections))]
    protocol = customise(base, "every size", areas={"all": (0, np.inf)}, max_dets=limit)
    matching = match_classes(annotations, detections, protocol, ignore_regions="absorb")
    return matched_by(
        outcomes(annotations, detections, matching, protocol, iou=IOU), annotations, detections
    )


def matched_by(result: Outcomes, annotations: Annotations, detections: Detections) -> Matched:
    """Return what outcomes say of these annotations and detections, which they are of."""
    counts = np.zeros(len(annotations), np.bool_)
    counts[result.object[result.counts]] = True
    found_at = np.full(len(annotations), NEVER)
    found_at[result.target[result.right]] = result.score[result.right]
    right, false = np.zeros((2, len(detections)), np.bool_)
    right[result.detection[result.right]] = True
    false[result.detection[result.wrong]] = True
    return Matched(counts, found_at, right, false, detections.scores)


def judge(annotations: Annotations, detections: Detections, score: float) -> Verdicts:
    """Match detections of ``score`` and more with the objects, see ``match``."""
    return match(annotations, detections).at(score)
