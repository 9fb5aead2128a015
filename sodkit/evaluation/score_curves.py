"""Precision, recall and F1 of the detections from a score on, by class, and the best such score.

Counted are the outcomes at IoU .5 in the main area range. Matching is greedy from the best score
down, so leaving out all below a score changes nothing for the rest: of the detections of that
score or more TP are right and FP wrong, and with G objects that count

    precision = TP / (TP + FP)    recall = TP / G    F1 = 2 TP / (TP + FP + G)

F1 is the harmonic mean of the two (van Rijsbergen 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.evaluation.outcomes import Outcomes

SCORES = np.arange(101) / 100
"""Where curves are measured: 0, .01, ..., 1."""


@dataclass(frozen=True, slots=True)
class BestScore:
    """The score with the highest F1, of equal ones the highest; and what is reached there.

    Attributes:
        score: of a detection.
        precision: in [0, 1], as the next two.
        recall: see the module.
        f1: see the module.
    """

    score: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCurve:
    """Detections of a class, or of all classes at one score.

    Attributes:
        objects: objects that count.
        found: (101,) detections of ``SCORES`` or more that are right.
        false: (101,) those that are wrong.
        best: None: nothing is right.
    """

    objects: int
    found: IntArray
    false: IntArray
    best: BestScore | None

    def __repr__(self) -> str:
        best = self.best
        value = (
            "nothing is right" if best is None
            else f"highest F1 {best.f1:.3f} at score {best.score:.3f}"
        )  # fmt: skip
        return f"<ScoreCurve: {self.objects} objects, {value}>"

    @property
    def precision(self) -> FloatArray:
        """(101,) NaN where there is no detection."""
        return _ratio(self.found, self.found + self.false)

    @property
    def recall(self) -> FloatArray:
        """(101,) NaN without objects."""
        return _ratio(self.found, np.full(len(self.found), self.objects))

    @property
    def f1(self) -> FloatArray:
        """(101,) NaN without objects."""
        whole = self.found + self.false + self.objects
        return _ratio(2 * self.found, np.where(self.objects > 0, whole, 0))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; undefined is None."""
        return {
            "objects": self.objects,
            "best": None if self.best is None else asdict(self.best),
            "precision": _plain(self.precision),
            "recall": _plain(self.recall),
            "f1": _plain(self.f1),
        }


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCurves:
    """The curves of all classes together, and of each by its name."""

    everything: ScoreCurve
    per_class: Mapping[str, ScoreCurve]

    def __repr__(self) -> str:
        return f"<ScoreCurves: {len(self.per_class)} classes, together {self.everything!r}>"

    @property
    def best(self) -> dict[str, float]:
        """The best score of each class that has one, by its name."""
        return {name: one.best.score for name, one in self.per_class.items() if one.best}

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "iou": 0.5,
            "scores": SCORES.tolist(),
            "all": self.everything.as_dict(),
            "per_class": {name: one.as_dict() for name, one in self.per_class.items()},
        }


def score_curves(found: Outcomes, classes: Sequence[str], objects: IntArray) -> ScoreCurves:
    """Measure the curves.

    Args:
        found: the outcomes at IoU .5.
        classes: names of the K classes, in label order.
        objects: (K,) objects that count.
    """
    order = np.lexsort((-found.score, found.label))
    order = order[(found.right | found.wrong)[order]]
    ends = np.searchsorted(found.label[order], np.arange(len(classes) + 1))
    score, right = found.score[order], found.right[order]
    per_class = {
        name: _curve(score[start:end], right[start:end], int(count))
        for name, start, end, count in zip(classes, ends, ends[1:], objects, strict=False)
    }
    best_first = np.argsort(-score, kind="stable")
    everything = _curve(score[best_first], right[best_first], int(objects.sum()))
    return ScoreCurves(everything, per_class)


def _curve(score: FloatArray, right: BoolArray, objects: int) -> ScoreCurve:
    """Measure detections that count: scores (N,), best first, and whether they are right."""
    found = len(score) - np.searchsorted(score[::-1], SCORES)
    right_found = np.append(0, np.cumsum(right))[found]
    best = best_score(score, right, objects)
    return ScoreCurve(objects, right_found, found - right_found, best)


def best_score(score: FloatArray, right: BoolArray, objects: int) -> BestScore | None:
    """Return the score with the highest F1, of equal ones the highest; None if nothing is right.

    Detections of equal score stand or fall together.

    Args:
        score: (N,) of detections that count, best first.
        right: (N,) which of them are.
        objects: objects that count.
    """
    if not right.any():
        return None
    count, found = np.arange(1, len(score) + 1), np.cumsum(right)
    f1 = 2 * found / (count + objects)
    last = np.append(score[1:] != score[:-1], True)
    at = int(np.argmax(np.where(last, f1, -1.0)))
    recall = float(found[at] / objects)
    return BestScore(float(score[at]), float(found[at] / count[at]), recall, float(f1[at]))


def _ratio(part: IntArray, whole: IntArray) -> FloatArray:
    out = np.full(len(part), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _plain(values: FloatArray) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]
