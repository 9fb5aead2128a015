"""What became of objects and detections at one score, for pictures: found, false or missed.

The matching is the evaluation's: by class, the best score first, at an IoU of .5. Objects of every
size count here. What matched an ignored object, or lies in an ignore region, is neither right nor
false.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sodkit.arrays import BoolArray
from sodkit.data.records import Annotations, Detections
from sodkit.evaluation.evaluate import check_inputs
from sodkit.evaluation.outcomes import match_classes, outcomes
from sodkit.evaluation.protocol import customise, protocol_for

IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """Of annotations and detections, or of those of one image.

    Attributes:
        missed: (annotations,) objects that count and that no shown detection found.
        right: (detections,) found an object.
        false: (detections,) found nothing.
    """

    missed: BoolArray
    right: BoolArray
    false: BoolArray


def judge(annotations: Annotations, detections: Detections, score: float) -> Verdicts:
    """Match detections of ``score`` and more with the objects.

    Args:
        annotations: of the images.
        detections: on these images, boxes of the same kind.
        score: what is below is neither right nor false, in [0, 1].

    Raises:
        DataError: detections of an image or class that the annotations lack.
    """
    check_inputs(annotations, detections)
    base = protocol_for("horizontal" if annotations.obb is None else "oriented")
    limit = [max(1, len(detections))]
    protocol = customise(base, "every size", areas={"all": (0, np.inf)}, max_dets=limit)
    matching = match_classes(annotations, detections, protocol, ignore_regions="absorb")
    result = outcomes(annotations, detections, matching, protocol, iou=IOU)
    shown = result.score >= score
    missed = np.zeros(len(annotations), np.bool_)
    missed[result.object[result.counts]] = True
    missed[result.target[shown & result.right]] = False
    right, false = np.zeros((2, len(detections)), np.bool_)
    right[result.detection[shown & result.right]] = True
    false[result.detection[shown & result.wrong]] = True
    return Verdicts(missed, right, false)
