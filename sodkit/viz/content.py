"""What is drawn on one image, and how: chosen from its objects and predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sodkit.arrays import BoolArray, FloatArray
from sodkit.data.records import Annotations, Detections
from sodkit.viz.draw import ignored_polygons
from sodkit.viz.tags import LabelMode
from sodkit.viz.verdicts import Verdicts

IgnoreMode = Literal["mask", "outline", "hide"]
Only = Literal["missed", "false"]


@dataclass(frozen=True, slots=True)
class Style:
    """How to draw.

    Attributes:
        score: predictions below are left out, in [0, 1].
        ignore: what is ignored is masked, outlined or not shown.
        zoom: how many of the smallest objects are shown magnified below the image.
        labels: what stands beside boxes: class, score, both or nothing.
        only: of a comparison only what was missed, or what is false; None: all.
        areas: px^2, both included: boxes of other areas are left out.
    """

    score: float = 0.3
    ignore: IgnoreMode = "mask"
    zoom: int = 0
    labels: LabelMode = "none"
    only: Only | None = None
    areas: tuple[float, float] = (0.0, np.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What is drawn on one image.

    Attributes:
        truth: the objects that count; of a comparison those that were missed.
        ignored: outlines (K, 2) of what is ignored.
        found: the predictions, the best last; of a comparison those that are right or false.
        false: (N,) of these; None: nothing is compared.
    """

    truth: Annotations | None
    ignored: tuple[FloatArray, ...]
    found: Detections | None
    false: BoolArray | None = None

    def __len__(self) -> int:
        """Return how many boxes are drawn."""
        return sum(len(boxes) for boxes in (self.truth, self.found) if boxes is not None)


def select(
    truth: Annotations | None,
    detections: Detections | None,
    style: Style,
    verdicts: Verdicts | None = None,
) -> Content:
    """Choose what is drawn on one image.

    Args:
        truth: the annotations of this image only, None: none are known.
        detections: the predictions for this image only.
        style: which of them.
        verdicts: of these, at the style's score; None: nothing is compared.
    """
    low, high = style.areas
    ignored = () if truth is None else tuple(ignored_polygons(truth))
    if truth is not None:
        rows = ~truth.ignore if verdicts is None else verdicts.missed
        truth = truth.take(rows & between(truth.area, low, high) & (style.only != "false"))
    if detections is None:
        return Content(truth, ignored, None)
    rows = detections.scores >= style.score
    if verdicts is not None:
        rows = verdicts.false | (verdicts.right & (style.only is None))
        rows &= style.only != "missed"
    chosen = np.flatnonzero(rows & between(box_areas(detections), low, high))
    chosen = chosen[np.argsort(detections.scores[chosen], kind="stable")]
    false = None if verdicts is None else verdicts.false[chosen]
    return Content(truth, ignored, detections.take(chosen), false)


def between(areas: FloatArray, low: float, high: float) -> BoolArray:
    """Return which areas (N,) are from ``low`` to ``high``, both included."""
    return np.asarray((areas >= low) & (areas <= high))


def box_areas(found: Detections) -> FloatArray:
    """Return the areas (N,) in px^2: of the oriented boxes if there are any."""
    sides = found.xywh[:, 2:] if found.obb is None else found.obb[:, 2:4]
    return np.asarray(sides.prod(axis=1))
