"""A confusion matrix as rows of a page, and as a list of its largest confusions.

Of many classes the rows are those that are confused most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sodkit.arrays import FloatArray, IntArray
from sodkit.evaluation.confusion import Confusion

LIMIT = 40
"""So many classes are shown at most: more cannot be looked over, and a thousand are 48 MB."""


LISTED = 12
"""So many confusions are listed at most."""


@dataclass(frozen=True, slots=True)
class Confused:
    """One class that is taken for another.

    Attributes:
        truth: name of the class.
        taken_for: name of the other one.
        count: how often.
        share: of the truth's whole row, in (0, 1].
    """

    truth: str
    taken_for: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class ConfusionTable:
    """Some rows and columns of a matrix.

    Attributes:
        classes: names of the classes that are shown.
        rows: one for each of them, and of background: (count, share of its whole row), in each
            column, the last one missed.
        of: how many classes there are.
        largest: which class is taken for which most often, of all classes, most often first.
    """

    classes: tuple[str, ...]
    rows: tuple[tuple[tuple[int, float], ...], ...]
    of: int
    largest: tuple[Confused, ...]


def confusion_table(confusion: Confusion, limit: int = LIMIT) -> ConfusionTable:
    """Return what a page shows: all classes, or those that are taken for others most often.

    Args:
        confusion: the matrix.
        limit: classes at most.
    """
    matrix, count = confusion.matrix, len(confusion.classes)
    mixed = matrix[:count, :count] * (1 - np.eye(count, dtype=np.int64))
    often = mixed.sum(axis=0) + mixed.sum(axis=1)
    order = np.lexsort((-matrix.sum(axis=1)[:count], -often))  # of equal ones the larger class
    shown = np.append(np.sort(order[:limit]), count)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    cells = np.ix_(shown, shown)
    rows = tuple(
        tuple(zip(counts, shares, strict=True))
        for counts, shares in zip(matrix[cells].tolist(), share[cells].tolist(), strict=True)
    )
    names = tuple(confusion.classes[i] for i in shown[:-1].tolist())
    return ConfusionTable(names, rows, count, _largest(confusion.classes, mixed, share))


def _largest(classes: Sequence[str], mixed: IntArray, share: FloatArray) -> tuple[Confused, ...]:
    """List the largest counts (K, K) of one class taken for another, of equal ones in order."""
    order = np.argsort(-mixed, axis=None, kind="stable")[:LISTED]
    truth, other = (index.tolist() for index in np.unravel_index(order, mixed.shape))
    return tuple(
        Confused(classes[i], classes[j], int(mixed[i, j]), float(share[i, j]))
        for i, j in zip(truth, other, strict=True)
        if mixed[i, j]
    )
