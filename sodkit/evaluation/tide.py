"""Where the AP is lost: the error types of TIDE, and what AP would be without each.

D. Bolya, S. Foley, J. Hays, J. Hoffman: TIDE: A General Toolbox for Identifying Object Detection
Errors, ECCV 2020. Section 2.2 defines the types, 2.3 their weight: *dAP* of a type is the AP that
an oracle would reach by repairing that type alone, less the AP. As every type is repaired alone,
the dAPs do not add up to what is missing.

With tf = .5 and tb = .1, a false positive is the first of these that holds:

================  ============================================  ================================
type              its highest IoU                               repaired by
================  ============================================  ================================
localisation      with its own class is in [tb, tf)             moving it onto the object
classification    with another class is tf or more              giving it the object's class
duplicate         with its own class is tf or more              taking it away
background        with any object is below tb                   taking it away
both              else                                          taking it away
================  ============================================  ================================

An object is *missed* if nothing matched it and none of the first two types concerns it; it is
repaired by leaving it out. A moved or renamed detection becomes right if its object was not
found and no better-scored error of that type concerns the same object; else it goes.

Checked against tidecv 1.0.1 on generated upright cases: the same counts, and the same dAPs to
1e-15 but for two things. tidecv asks for recalls x / 100, here they are COCO's linspace; and where
errors of both types concern one object, tidecv repairs only the best-scored of them all,
so that a type's dAP hangs on the other type. The paper repairs each type alone, and so it is here.

AP is AP50 in the protocol's main range: SODA's Small. False positives and objects are those that
count there. An error may concern an object that does not count (ignored, or of another size) if
no other one fits: repaired, such a detection would be neither right nor wrong, so it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.records import Annotations, Detections
from sodkit.evaluation.matching import find_candidates
from sodkit.evaluation.outcomes import Outcomes
from sodkit.evaluation.protocol import Protocol
from sodkit.evaluation.tables import detection_table, object_table
from sodkit.table_text import number

FOREGROUND = 0.5
"""tf of the paper: an IoU that makes a match."""
BACKGROUND = 0.1
"""tb of the paper: below this IoU there is nothing but background."""

ERRORS = ("classification", "localisation", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, ELSEWHERE, MISSED = range(6)


@dataclass(frozen=True, slots=True, eq=False)
class Tide:
    """The errors of one evaluation at IoU .5 in the main range.

    Attributes:
        ap: AP50, the mean over classes with objects; None if no class has any.
        gain: dAP of each type of ``ERRORS``, >= 0; None if ``ap`` is.
        count: how many errors there are of each type.
        gain_false_positives: dAP of taking all false positives away.
        gain_false_negatives: dAP of asking only for what was found.
        kind: (N,) index into ``ERRORS`` of each detection of the outcomes, -1: no error.
        target: (N,) annotation that an error of the first two types concerns, else -1.
        missed: (G,) missed objects of the outcomes.
    """

    ap: float | None
    gain: Mapping[str, float | None]
    count: Mapping[str, int]
    gain_false_positives: float | None
    gain_false_negatives: float | None
    kind: npt.NDArray[np.int8]
    target: IntArray
    missed: BoolArray

    def __repr__(self) -> str:
        ap = number(self.ap, ".3f") or "undefined"
        return f"<Tide: AP50 {ap}, {sum(self.count.values())} errors of {len(self.count)} types>"

    def as_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {
            "AP50": self.ap,
            "types": {name: {"dAP": self.gain[name], "count": self.count[name]} for name in ERRORS},
            "false_positives": {"dAP": self.gain_false_positives},
            "false_negatives": {"dAP": self.gain_false_negatives},
        }


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What AP is computed from.

    Attributes:
        label: (N,) class indices.
        score: (N,) scores; equal ones count in this order.
        right: (N,) true positives; the others are false.
        keep: (N,) detections that take part.
        positives: (K,) objects to find.
        asked: (K,) the class has objects before anything was repaired.
    """

    label: IntArray
    score: FloatArray
    right: BoolArray
    keep: BoolArray
    positives: IntArray
    asked: BoolArray


def find_errors(
    annotations: Annotations, detections: Detections, found: Outcomes, protocol: Protocol
) -> Tide:
    """Sort the errors into types and weigh each.

    Args:
        annotations: the ground truth.
        detections: boxes of the same kind.
        found: their outcomes at IoU .5 (``FOREGROUND``).
        protocol: gives the recall points.
    """
    kind, target = _error_types(annotations, detections, found)
    missed = found.counts & ~found.found
    missed[_places(annotations, found)[target[target >= 0]]] = False
    now = ranking_of(annotations, found)
    recalls = np.array(protocol.recalls)
    ap = mean_average_precision(now, recalls)

    def gain(repaired: Ranking) -> float | None:
        after = mean_average_precision(repaired, recalls)
        return None if ap is None or after is None else after - ap

    repaired = {
        name: repair(annotations, found, now, kind == e, target)
        for e, name in enumerate(ERRORS[:MISSED])
    }
    repaired["missed"] = without(annotations, found, now, missed)
    unfound = found.counts & ~found.found
    return Tide(
        ap=ap,
        gain={name: gain(repaired[name]) for name in ERRORS},
        count={
            **{name: int((kind == e).sum()) for e, name in enumerate(ERRORS[:MISSED])},
            "missed": int(missed.sum()),
        },
        gain_false_positives=gain(replace(now, keep=found.right)),
        gain_false_negatives=gain(without(annotations, found, now, unfound)),
        kind=kind,
        target=target,
        missed=missed,
    )


def repair(
    annotations: Annotations, found: Outcomes, now: Ranking, mask: BoolArray, target: IntArray
) -> Ranking:
    """Return the ranking after an oracle repaired the errors in ``mask``.

    Args:
        annotations: the ground truth.
        found: the outcomes.
        now: the ranking as it is.
        mask: (N,) the errors to repair.
        target: (N,) the annotation that an error concerns, -1: it is only taken away.
    """
    place = _places(annotations, found)
    rows = np.flatnonzero(mask & (target >= 0))
    at = place[target[rows]]
    open_ = found.counts[at] & ~found.found[at]
    rows, at = rows[open_], at[open_]
    best_first = np.lexsort((rows, -found.score[rows], at))
    _, first = np.unique(at[best_first], return_index=True)
    chosen = rows[best_first[first]]
    label, right, keep = now.label.copy(), now.right.copy(), now.keep & ~mask
    label[chosen] = annotations.labels[target[chosen]]
    right[chosen] = True
    keep[chosen] = True
    return replace(now, label=label, right=right, keep=keep)


def mean_average_precision(ranking: Ranking, recalls: FloatArray) -> float | None:
    """Return the mean over classes with objects of AP at one threshold, None if there is none.

    A class of which no object counts any longer has AP 1, or 0 if a false positive stays.
    """
    values = []
    for one in np.flatnonzero(ranking.asked):
        mine = ranking.keep & (ranking.label == one)
        values.append(
            average_precision(
                ranking.score[mine], ranking.right[mine], int(ranking.positives[one]), recalls
            )
        )
    return float(np.mean(values)) if values else None


def average_precision(
    score: FloatArray, right: BoolArray, positives: int, recalls: FloatArray
) -> float:
    """Return the mean of the best precision at each recall point or beyond, as ``curves`` has it.

    Args:
        score: (n,) scores; equal ones count in this order.
        right: (n,) true positives.
        positives: objects; 0: all are found.
        recalls: (R,) recall points.
    """
    if positives == 0:
        return 0.0 if len(score) else 1.0
    hits = np.flatnonzero(right[np.argsort(-score, kind="stable")])
    true = np.arange(1, len(hits) + 1)
    peaks = true / (hits + 1 - true + true + np.finfo(np.float64).eps)
    peaks = np.append(np.maximum.accumulate(peaks[::-1])[::-1], 0.0)
    return float(peaks[np.searchsorted(true / positives, recalls, side="left")].mean())


def ranking_of(annotations: Annotations, found: Outcomes) -> Ranking:
    """Return the ranking of the outcomes as they are."""
    count = len(annotations.categories)
    positives = np.bincount(annotations.labels[found.object[found.counts]], minlength=count)
    return Ranking(
        found.label,
        found.score,
        found.right,
        found.right | found.wrong,
        positives.astype(np.int64),
        positives > 0,
    )


def without(annotations: Annotations, found: Outcomes, now: Ranking, objects: BoolArray) -> Ranking:
    """Return the ranking if the objects in the mask (G,) did not count."""
    labels = annotations.labels[found.object[objects]]
    gone = np.bincount(labels, minlength=len(now.positives))
    return replace(now, positives=now.positives - gone)


def _places(annotations: Annotations, found: Outcomes) -> IntArray:
    """Return for every annotation its place among the outcomes' objects, -1 for regions."""
    place = np.full(len(annotations), -1, np.int64)
    place[found.object] = np.arange(len(found.object))
    return place


def _error_types(
    annotations: Annotations, detections: Detections, found: Outcomes
) -> tuple[npt.NDArray[np.int8], IntArray]:
    """Return the type (N,) of every detection, -1: no error, and the annotation concerned (N,).

    The annotation is -1 for types that are repaired by taking the detection away.
    """
    kind = np.full(len(found.detection), -1, np.int8)
    concerned = np.full(len(kind), -1, np.int64)
    wrong = np.flatnonzero(found.wrong)
    detection, target, overlap = _overlaps(annotations, detections.take(found.detection[wrong]))
    same = annotations.labels[target] == found.label[wrong[detection]]
    own, other = np.zeros(len(wrong)), np.zeros(len(wrong))
    np.maximum.at(own, detection[same], overlap[same])
    np.maximum.at(other, detection[~same], overlap[~same])
    conditions = [
        (own >= BACKGROUND) & (own < FOREGROUND),
        other >= FOREGROUND,
        own >= FOREGROUND,
        np.maximum(own, other) < BACKGROUND,
    ]
    types = np.select(conditions, [LOCALISATION, CLASSIFICATION, DUPLICATE, ELSEWHERE], BOTH)
    kind[wrong] = types
    fits = np.where(same, types[detection] == LOCALISATION, types[detection] == CLASSIFICATION) & (
        same | (overlap >= FOREGROUND)
    )
    counts = found.counts[_places(annotations, found)[target]]
    rows = np.flatnonzero(fits)
    best_last = rows[np.lexsort((overlap[rows], counts[rows], detection[rows]))]
    concerned[wrong[detection[best_last]]] = target[best_last]
    return kind, concerned


def _overlaps(
    annotations: Annotations, detections: Detections
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the pairs with IoU >= ``BACKGROUND`` of any classes.

    Returns:
        (P,) rows of the detections, (P,) rows of the annotations, (P,) IoU.
    """
    objects = np.flatnonzero(~annotations.is_region)
    truth = object_table(annotations, objects, np.zeros(len(objects), np.int64), 1)
    count = len(detections)
    table = detection_table(annotations, detections, np.zeros(count, np.int64), 1, count + 1)
    crowd = np.zeros(len(truth), np.bool_)
    pairs = find_candidates(truth, table, crowd, BACKGROUND)
    return table.rows[pairs.detection], truth.rows[pairs.target], pairs.overlap
