"""Where objects are lost on their way through a detector, and which are found.

An object is in the state of the first step that it does not pass after the last one that it does:
one that is found is found, whatever its anchors were. ``docs/proposals.md`` says each state in a
sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.records import Annotations, Detections
from sodkit.data.sizes import SIZE_NAMES, size_index
from sodkit.evaluation.evaluate import check_inputs
from sodkit.evaluation.matching import Candidates, find_candidates
from sodkit.evaluation.outcomes import match_classes, outcomes
from sodkit.evaluation.proposal_recall import GOOD_IOU
from sodkit.evaluation.protocol import SODA_D, customise
from sodkit.evaluation.tables import Table

FOUND = "found"
STATES = (
    "no anchor", "no proposal", "no box", "low score", "wrong class", "suppressed", FOUND,
)  # fmt: skip
"""What can become of an object, from the worst to the best."""
BOX_IOU = 0.5
"""A box meets an object from this IoU on, as in AP50."""
SIZES = (*SIZE_NAMES, "all")


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Which objects pass the steps of a detector; row i is one object.

    Attributes:
        anchor: (N,) the rule of training gives it a positive; None: the rule is not known here.
        proposal: (N,) a proposal overlaps it by more than ``GOOD_IOU``; None: there are none.
        box: (N,) a box of any class and score meets it (``BOX_IOU``).
        score: (N,) a box above the least score does.
        own: (N,) such a box of its own class does.
        found: (N,) a detection of its class that is given out is matched with it.
    """

    anchor: BoolArray | None
    proposal: BoolArray | None
    box: BoolArray
    score: BoolArray
    own: BoolArray
    found: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class ObjectStates:
    """What becomes of objects; row i of every column is one object that is not ignored.

    Attributes:
        names: the states that are told apart, from ``STATES``.
        state: (N,) index into ``names``.
        size: (N,) index into ``SIZE_NAMES``.
    """

    names: tuple[str, ...]
    state: IntArray
    size: IntArray

    def __repr__(self) -> str:
        found = int((self.state == self.names.index(FOUND)).sum())
        return (
            f"<ObjectStates: {found} of {len(self.state)} objects found, {len(self.names)} states>"
        )

    def count(self, size: str) -> int:
        """Return how many objects there are of a size class, or of "all"."""
        return int(self._of(size).sum())

    def shares(self, size: str) -> dict[str, float | None]:
        """Return the share of the objects of a size class, or of "all", in each state.

        They add up to 1; all are None where there is no object.
        """
        own = self.state[self._of(size)]
        counts = np.bincount(own, minlength=len(self.names))
        return {
            name: int(count) / len(own) if len(own) else None
            for name, count in zip(self.names, counts, strict=True)
        }

    def _of(self, size: str) -> BoolArray:
        every = np.ones(len(self.size), np.bool_)
        return every if size == "all" else self.size == SIZE_NAMES.index(size)


def object_states(steps: Steps, area: FloatArray, counts: BoolArray) -> ObjectStates:
    """Return the state of each object; those of steps that are None are left out.

    Args:
        steps: which steps each of N objects passes.
        area: (N,) px^2 in the original image.
        counts: (N,) the object is one of the result.
    """
    passed = (steps.anchor, steps.proposal, steps.box, steps.score, steps.own, steps.found)
    known = [(name, one) for name, one in zip(STATES, passed, strict=False) if one is not None]
    state = np.zeros(len(area), np.int64)
    for number, (_, one) in enumerate(known, 1):
        state[one] = number
    names = (*(name for name, _ in known), FOUND)
    return ObjectStates(names, state[counts], size_index(area[counts]))


def found_objects(annotations: Annotations, detections: Detections) -> BoolArray:
    """Return which annotations (N,) a detection of their class is matched with, as AP50 matches.

    Objects of all sizes count, and all detections.

    Args:
        annotations: ignored ones and regions are false.
        detections: of whole images, boxes of the same kind.

    Raises:
        DataError: as ``evaluate``.
    """
    check_inputs(annotations, detections)
    protocol = customise(
        SODA_D, "every object", areas={"all": (0, np.inf)}, max_dets=[max(len(detections), 1)]
    )
    matching = match_classes(annotations, detections, protocol)
    result = outcomes(annotations, detections, matching, protocol, iou=BOX_IOU)
    found = np.zeros(len(annotations), np.bool_)
    found[result.object] = result.found
    return found


class Meetings:
    """Collects, window by window, which objects the boxes of a detector meet.

    Args:
        annotations: the objects.
        score: least score of a detection.
    """

    def __init__(self, annotations: Annotations, score: float) -> None:
        count = len(annotations)
        self._least, self._labels = score, annotations.labels
        self._boxes = annotations.xywh if annotations.obb is None else annotations.obb
        self._rows = annotations.rows_by_image()
        self.box, self.score, self.own, self.proposal = np.zeros((4, count), np.bool_)

    def add_boxes(self, image: int, found: Detections) -> None:
        """Note the boxes of a window of an image, by its index, of all classes and scores."""
        rows = self._rows[image]
        pairs = _pairs(self._boxes[rows], found)
        objects = rows[pairs.target]
        scored = found.scores[pairs.detection] > self._least
        own = scored & (found.labels[pairs.detection] == self._labels[objects])
        self.box[objects] = True
        self.score[objects[scored]] = True
        self.own[objects[own]] = True

    def add_proposals(self, image: int, found: Detections) -> None:
        """Note the proposals of a window of an image."""
        rows = self._rows[image]
        pairs = _pairs(self._boxes[rows], found)
        self.proposal[rows[pairs.target[pairs.overlap > GOOD_IOU]]] = True


def _pairs(objects: FloatArray, found: Detections) -> Candidates:
    """Return the pairs of a box and an object (N, 4 or 5) of an image that meet."""
    boxes = found.xywh if found.obb is None else found.obb
    crowd = np.zeros(len(objects), np.bool_)
    return find_candidates(_one_group(objects), _one_group(boxes), crowd, BOX_IOU)


def _one_group(boxes: FloatArray) -> Table:
    rows = np.arange(len(boxes))
    boxes = np.ascontiguousarray(boxes, np.float64)
    area = boxes[:, 2] * boxes[:, 3]
    return Table(rows, np.array([0, len(boxes)]), 1, boxes, area, rows)


def states_as_dict(states: ObjectStates) -> dict[str, object]:
    """Return objects and shares by size class as plain data for JSON."""
    return {size: {"objects": states.count(size), "states": states.shares(size)} for size in SIZES}


def names_of_all(several: Sequence[ObjectStates]) -> list[str]:
    """Return the states that any of several detectors tells apart, in their order."""
    known = {name for states in several for name in states.names}
    return [name for name in STATES if name in known]
