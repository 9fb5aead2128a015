"""How often an epoch takes each training image: rare classes and smallest objects more often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.sizes import SIZE_NAMES, size_index
from sodkit.settings import Schedule

_ES = SIZE_NAMES.index("eS")


def repeats(
    images: Sequence[IntArray],
    labels: IntArray,
    area: FloatArray,
    learnable: BoolArray,
    schedule: Schedule,
) -> FloatArray | None:
    """Return how often (I,) an epoch takes each image on average, 1 or more; None: all once.

    An image with several reasons to be repeated is repeated for the strongest.

    Args:
        images: of each of I images the rows of its annotations.
        labels: (N,) class indices of all annotations.
        area: (N,) px^2 of the original image.
        learnable: (N,) what is learnt; other annotations are no reason.
        schedule: with ``class_balance`` and ``repeat_es``.
    """
    if schedule.class_balance == 0 and schedule.repeat_es == 1:
        return None
    learnt = [rows[learnable[rows]] for rows in images]
    smallest = size_index(area) == _ES
    small = np.array([smallest[rows].any() for rows in learnt], np.bool_)
    balanced = by_class([labels[rows] for rows in learnt], schedule.class_balance)
    return np.maximum(balanced, np.where(small, schedule.repeat_es, 1.0))


def by_class(labels: Sequence[IntArray], threshold: float) -> FloatArray:
    """Return the repeat factors (I,) of images by the rarest of their classes.

    Gupta et al. 2019 (LVIS, section 5.1): of a class that a share f of the images has it is
    max(1, sqrt(threshold / f)), of an image the largest of its classes.

    Args:
        labels: of each of I images the class indices of its objects.
        threshold: t, in [0, 1].
    """
    present = [np.unique(one) for one in labels]
    count = np.bincount(np.concatenate([*present, np.zeros(0, np.int64)]))
    share = np.maximum(count, 1) / max(len(labels), 1)
    factor = np.maximum(1.0, np.sqrt(threshold / share))
    return np.array([factor[one].max(initial=1.0) for one in present])


def draw_copies(repeats: FloatArray, rng: np.random.Generator) -> IntArray:
    """Return how often (I,) one epoch takes each image: its factor, rounded down or up.

    The chance of rounding up is the fraction, and the sum is the same in every epoch: one number is
    drawn, and the images lie on a line of length sum(repeats) that is cut at whole distances from
    it (systematic sampling).
    """
    total = epoch_length(repeats)
    ends = np.cumsum(repeats)
    ends *= total / ends[-1]
    ends[-1] = total
    cuts = np.floor(ends + rng.random()).astype(np.int64)
    return np.diff(cuts, prepend=0)


def epoch_length(repeats: FloatArray) -> int:
    """Return the number of samples of an epoch."""
    return round(float(repeats.sum()))
