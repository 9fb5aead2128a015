"""How far scores are probabilities: the share of right detections at each height of the score.

The detections that count (IoU .5, main area range) are put into ten bins by their score. Of a
calibrated detector seven in ten of those with a score of .7 are right. The expected calibration
error is the mean over the detections of how far their bin's share of right ones is from its mean
score (Naeini, Cooper and Hauskrecht 2015; for detections Kueppers et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sodkit.evaluation.outcomes import Outcomes
from sodkit.table_text import number

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Detections of ``low`` <= score < ``high``; the last bin has its upper end, too.

    Attributes:
        low: of the scores.
        high: of the scores.
        count: detections.
        score: their mean score; None without detections.
        right: their share of right ones; None without detections.
    """

    low: float
    high: float
    count: int
    score: float | None
    right: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The bins, and the expected calibration error in [0, 1]; None without detections."""

    bins: tuple[Bin, ...]
    error: float | None

    def __repr__(self) -> str:
        error = number(self.error, ".3f") or "undefined"
        return f"<Calibration: expected error {error}, {len(self.bins)} bins>"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        bins = [
            {"low": one.low, "high": one.high, "detections": one.count,
             "mean_score": one.score, "right": one.right}
            for one in self.bins
        ]  # fmt: skip
        return {"expected_calibration_error": self.error, "bins": bins}


def calibration(found: Outcomes) -> Calibration:
    """Compare the scores of detections with how many are right."""
    counts = found.right | found.wrong
    score, right = found.score[counts], found.right[counts]
    edges = np.arange(BINS + 1) / BINS
    place = np.searchsorted(edges[1:-1], score, side="right")
    sizes = np.bincount(place, minlength=BINS)
    scores = np.bincount(place, score, BINS)
    rights = np.bincount(place, right, BINS)
    bins = tuple(
        Bin(float(edges[i]), float(edges[i + 1]), int(n), *_means(n, scores[i], rights[i]))
        for i, n in enumerate(sizes)
    )
    error = float(np.abs(rights - scores).sum() / len(score)) if len(score) else None
    return Calibration(bins, error)


def _means(count: int, *sums: float) -> tuple[float | None, ...]:
    return tuple(float(one / count) if count else None for one in sums)
