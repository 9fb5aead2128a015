"""A part of a data set: some of its images, its classes, or what reaches a score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from sodkit.arrays import FloatArray, IntArray
from sodkit.data.naming import class_names, find_class, listed
from sodkit.data.records import REGION, Annotations, Category, Detections
from sodkit.errors import UsageError

Rows = TypeVar("Rows", Annotations, Detections)


def only_images(annotations: Annotations, images: IntArray) -> Annotations:
    """Return annotations of some images; ``images``: (M,) their indices, ascending."""
    place = np.full(len(annotations.images), -1)
    place[images] = np.arange(len(images))
    own = annotations.take(place[annotations.image_index] >= 0)
    kept = tuple(annotations.images[index] for index in images.tolist())
    return replace(own, images=kept, image_index=place[own.image_index])


def only_labels(rows: Rows, labels: Sequence[int], count: int) -> Rows:
    """Return annotations or detections of some classes, numbered anew; ignore regions stay.

    Args:
        rows: what is selected from.
        labels: the class indices to keep, in their new order.
        count: how many classes there were.
    """
    table = np.full(count + 1, REGION - 1)
    table[list(labels)] = np.arange(len(labels))
    table[REGION] = REGION
    new = table[rows.labels]
    own = replace(rows, labels=new).take(new >= REGION)
    if isinstance(own, Annotations):
        return replace(own, categories=tuple(own.categories[label] for label in labels))
    return own


def only_scores(detections: Detections, least: FloatArray) -> Detections:
    """Return the detections that reach the least score (K,) of their class."""
    return detections.take(detections.scores >= least[detections.labels])


def chosen_labels(
    wanted: str,
    categories: Sequence[Category],
    where: str,
    say: Callable[[str], None] = lambda message: None,
) -> list[int]:
    """Return the indices of the classes that ``--classes`` names, ascending.

    Args:
        wanted: names with commas between.
        categories: the classes that there are.
        where: whose they are, for messages.
        say: called with a sentence about a class that differs in case only.

    Raises:
        UsageError: a name is none of the classes', or there is none.
    """
    known = [category.name for category in categories]
    labels = set()
    if not class_names(wanted):
        raise UsageError("--classes names no class", where=where)
    for name in class_names(wanted):
        label = find_class(name, known)
        if label is None:
            raise UsageError(
                f"--classes names '{name}', which is no class of it", where=where,
                hint=f"its classes are: {listed(known, 20)}",
            )  # fmt: skip
        if known[label] != name:
            say(f"{where}: class '{known[label]}' is taken as '{name}'")
        labels.add(label)
    return sorted(labels)
