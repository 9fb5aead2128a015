"""Which images went worst, at a score a user would choose.

Detections with that score or more are shown; of an image count the objects missed, the
false alarms and the objects found, by the protocol's matching (IoU .5, main area range, class by
class). ``errors`` ranks by missed + false: where the most goes wrong. ``f1`` ranks by
2 found / (2 found + missed + false), lowest first: where little goes right, however few objects
there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sodkit.arrays import IntArray
from sodkit.data.records import Annotations
from sodkit.evaluation.outcomes import Outcomes

Ranking = Literal["errors", "f1"]


@dataclass(frozen=True, slots=True, eq=False)
class ImageCounts:
    """What became of each image's objects; all (I,), in the order of the annotations' images."""

    found: IntArray
    missed: IntArray
    false: IntArray


@dataclass(frozen=True, slots=True)
class WorstImage:
    """One image of the list.

    Attributes:
        index: into ``annotations.images``.
        found: objects found.
        missed: objects missed.
        false: false alarms.
        f1: 2 found / (2 found + missed + false), in [0, 1].
    """

    index: int
    found: int
    missed: int
    false: int
    f1: float


@dataclass(frozen=True, slots=True)
class ClassErrors:
    """What went wrong with a class in one image.

    Attributes:
        label: class index.
        missed: objects missed.
        false: false alarms.
        score: the highest score of these; None: there are none.
    """

    label: int
    missed: int
    false: int
    score: float | None


def class_errors(
    found: Outcomes, annotations: Annotations, index: int, score: float
) -> tuple[ClassErrors, ...]:
    """Return the classes that went wrong in an image, most errors first.

    Args:
        found: the outcomes.
        annotations: that they are of.
        index: of the image.
        score: detections below are left out.
    """
    count = len(annotations.categories)
    own = (found.image == index) & (found.score >= score)
    wrong = own & found.wrong
    mine = found.object[found.counts & (annotations.image_index[found.object] == index)]
    objects = np.bincount(annotations.labels[mine], minlength=count)
    missed = objects - np.bincount(found.label[own & found.right], minlength=count)
    false = np.bincount(found.label[wrong], minlength=count)
    highest = np.full(count, -1.0)
    np.maximum.at(highest, found.label[wrong], found.score[wrong])
    order = np.argsort(-(missed + false), kind="stable")
    return tuple(
        ClassErrors(i, int(missed[i]), int(false[i]), float(highest[i]) if false[i] else None)
        for i in order[(missed + false)[order] > 0].tolist()
    )


def count_by_image(
    found: Outcomes, image_index: IntArray, images: int, score: float
) -> ImageCounts:
    """Count by image.

    Args:
        found: the outcomes. Matching is greedy from the best score down, so leaving out the rest
            changes nothing for those above.
        image_index: (annotations,) the image of each annotation.
        images: how many there are.
        score: detections below are left out.
    """
    shown = found.score >= score
    right = np.bincount(found.image[shown & found.right], minlength=images)
    false = np.bincount(found.image[shown & found.wrong], minlength=images)
    objects = np.bincount(image_index[found.object[found.counts]], minlength=images)
    return ImageCounts(right, objects - right, false)


def worst_images(
    counts: ImageCounts, limit: int, *, by: Ranking = "errors"
) -> tuple[WorstImage, ...]:
    """Return the worst images, worst first; images without errors are never among them.

    Args:
        counts: by image.
        limit: how many at most.
        by: ``errors``: most missed + false first, then lowest F1; ``f1``: the other way round.
            What is equal stays in the order of the images.
    """
    errors = counts.missed + counts.false
    whole = 2 * counts.found + errors
    f1 = np.divide(2 * counts.found, whole, out=np.ones(len(errors)), where=whole > 0)
    keys = (f1, -errors) if by == "errors" else (-errors, f1)
    order = np.lexsort(keys)
    order = order[errors[order] > 0][:limit]
    return tuple(
        WorstImage(
            int(i), int(counts.found[i]), int(counts.missed[i]), int(counts.false[i]), float(f1[i])
        )
        for i in order
    )
