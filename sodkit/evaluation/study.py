"""An evaluation looked at closely in one call: intervals, errors, scores, confusion, images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sodkit.data.records import Annotations, Detections
from sodkit.errors import UsageError
from sodkit.evaluation.calibration import Calibration, calibration
from sodkit.evaluation.compare import Comparison, Run, compare
from sodkit.evaluation.confusion import Confusion, confusion_matrix
from sodkit.evaluation.evaluate import Evaluation, IgnoreRegions
from sodkit.evaluation.outcomes import Outcomes, match_classes, outcomes
from sodkit.evaluation.score_curves import ScoreCurves, score_curves
from sodkit.evaluation.tide import Tide, find_errors
from sodkit.evaluation.worst import WorstImage, count_by_image, worst_images


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """What is known about one run beyond its metrics.

    Attributes:
        outcomes: of every detection and object at IoU .5.
        tide: where the AP50 is lost.
        curves: precision, recall and F1 by score, and the best score of each class.
        calibration: how far the scores are probabilities.
        score: detections below are not shown in what follows.
        score_is_best: it was chosen for the highest F1 of all classes together.
        confusion: the classes' confusion at that score and IoU .5.
        worst: the worst images at that score, worst first.
        intervals: the metrics' confidence intervals.
    """

    outcomes: Outcomes
    tide: Tide
    curves: ScoreCurves
    calibration: Calibration
    score: float
    score_is_best: bool
    confusion: Confusion
    worst: tuple[WorstImage, ...]
    intervals: Comparison

    def __repr__(self) -> str:
        return (
            f"<Study: {self.outcomes!r}, {len(self.worst)} worst images at score {self.score:.3g}>"
        )

    def as_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {
            "errors": self.tide.as_dict(),
            "scores": self.curves.as_dict(),
            "calibration": self.calibration.as_dict(),
            "confusion": self.confusion.as_dict(),
            "intervals": self.intervals.as_dict(),
        }


def study(
    evaluation: Evaluation,
    annotations: Annotations,
    detections: Detections,
    *,
    ignore_regions: IgnoreRegions = "drop",
    score: float | None = None,
    worst: int = 8,
    resamples: int = 1000,
    seed: int = 0,
    name: str = "run",
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Look at an evaluation closely.

    Args:
        evaluation: of these annotations and detections.
        annotations: the ground truth.
        detections: the predictions.
        ignore_regions: as they were evaluated.
        score: confusion and worst images leave out detections below, in [0, 1]; None: the score
            of the highest F1, 0 if nothing is right.
        worst: how many images at most.
        resamples: draws of images for the confidence intervals; 0: none.
        seed: of the draws.
        name: of the run, in the intervals.
        progress: called with resamples done and all of them.

    Raises:
        UsageError: a number out of range.
    """
    if worst < 0 or (score is not None and not 0 <= score <= 1):
        raise UsageError(f"cannot show {worst} images at score {score}")
    protocol = evaluation.protocol
    matching = match_classes(annotations, detections, protocol, ignore_regions=ignore_regions)
    found = outcomes(annotations, detections, matching, protocol)
    curves = score_curves(found, evaluation.classes, evaluation.positives[:, 0])
    best = curves.everything.best
    shown = score if score is not None else best.score if best else 0.0
    counts = count_by_image(found, annotations.image_index, len(annotations.images), shown)
    return Study(
        outcomes=found,
        tide=find_errors(annotations, detections, found, protocol),
        curves=curves,
        calibration=calibration(found),
        score=shown,
        score_is_best=score is None,
        confusion=confusion_matrix(
            annotations, detections, protocol, score=shown, ignore_regions=ignore_regions
        ),
        worst=worst_images(counts, worst),
        intervals=compare(
            annotations,
            [Run(name, detections, evaluation)],
            resamples=resamples,
            seed=seed,
            matchings=[matching],
            progress=progress,
        ),
    )
