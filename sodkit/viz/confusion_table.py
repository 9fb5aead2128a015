"""A confusion matrix as rows of a page; of many classes those that are confused most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sodkit.evaluation.confusion import Confusion

LIMIT = 40
"""So many classes are shown at most: more cannot be looked over, and a thousand are 48 MB."""


@dataclass(frozen=True, slots=True)
class ConfusionTable:
    """Some rows and columns of a matrix.

    Attributes:
        classes: names of the classes that are shown.
        rows: one for each of them, and of background: (count, share of its whole row), in each
            column, the last one missed.
        of: how many classes there are.
    """

    classes: tuple[str, ...]
    rows: tuple[tuple[tuple[int, float], ...], ...]
    of: int


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
    return ConfusionTable(tuple(confusion.classes[i] for i in shown[:-1].tolist()), rows, count)
