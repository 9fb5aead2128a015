"""What the viewer's page knows of boxes: rows of numbers that its script draws.

A detection's verdict holds at every score, and an object is found from the score down at which a
detection matched it (``verdicts``). So the page filters by score and matches nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.records import Annotations, Category, Detections
from sodkit.viz.content import Style, between, box_areas
from sodkit.viz.dataset_pictures import no_comparison, rows_by_id
from sodkit.viz.draw import box_corners, ignored_polygons
from sodkit.viz.palette import IGNORED, Colour, class_colour, class_letter
from sodkit.viz.verdicts import NEVER, Matched, match

Mode = Literal["objects", "predictions", "compared"]
"""What is known: objects alone, predictions alone (on a bare list of images), or both."""
DECIMALS = 2
"""Of coordinates, in px."""
Entry = dict[str, Any]


def mode_of(annotations: Annotations, detections: Detections | None) -> Mode:
    """Return what is known of the images."""
    if detections is None:
        return "objects"
    return "compared" if len(annotations) else "predictions"


def image_entries(
    annotations: Annotations,
    indices: Sequence[int],
    detections: Detections | None,
    style: Style,
    matched: Matched | None = None,
) -> list[Entry]:
    """Return for each image its boxes; with ``style.only`` for images that have some such.

    Of an entry, ``index`` is the image's place in ``annotations.images``, ``objects`` are rows of
    (label, score from which on it is missed, 8 coordinates), ``detections`` rows of (label, score,
    1: found an object, 0: false, 8 coordinates), ``ignored`` outlines of any number of coordinates.

    Args:
        annotations: the data set.
        indices: of the images that are shown, in this order.
        detections: predictions on its images.
        style: which boxes.
        matched: annotations and detections, None: they are matched here.

    Raises:
        DataError: detections of an image or class that the annotations lack.
        UsageError: ``style.only`` without objects or without predictions.
    """
    mode = mode_of(annotations, detections)
    if mode != "compared" and style.only is not None:
        raise no_comparison(detections)
    if mode != "compared":
        matched = None
    elif detections is not None and matched is None:
        matched = match(annotations, detections)
    objects = _objects(annotations, style, matched)
    found = None if detections is None else _detections(detections, style, matched)
    records = [annotations.images[index] for index in indices]
    rows, theirs = annotations.rows_by_image(), rows_by_id(records, detections)
    entries = []
    for place, (index, record) in enumerate(zip(indices, records, strict=True)):
        mine = rows[index][objects[0][rows[index]]]
        entry = {
            "index": index, "id": record.id, "name": record.file_name,
            "width": record.width, "height": record.height,
            "objects": _rows(annotations.take(mine), objects[1][mine]),
            "detections": [],
            "ignored": _outlines(annotations.take(rows[index])),
        }  # fmt: skip
        if detections is not None and found is not None:
            kept = theirs[place][found[0][theirs[place]]]
            numbers = np.stack([detections.scores[kept], found[1][kept]], axis=1)
            entry["detections"] = _rows(detections.take(kept), numbers)
        if style.only is None or _has(entry, style):
            entries.append(entry)
    return entries


def page_json(
    title: str,
    categories: Sequence[Category],
    mode: Mode,
    entries: Sequence[Entry],
    style: Style,
) -> str:
    """Return all that the script reads, as ASCII that cannot end a script element."""
    classes = [
        {"name": one.name, "colour": _css(class_colour(label)), "letter": class_letter(label)}
        for label, one in enumerate(categories)
    ]
    data = {
        "title": title, "mode": mode, "classes": classes, "ignored": _css(IGNORED),
        "images": entries,
        "start": {"score": style.score, "only": style.only, "labels": style.labels,
                  "ignore": style.ignore},
    }  # fmt: skip
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _objects(
    annotations: Annotations, style: Style, matched: Matched | None
) -> tuple[BoolArray, FloatArray]:
    """Return which objects are shown (N,), and the scores (N, 1) at which they are found."""
    wanted = between(annotations.area, *style.areas)
    if matched is None:
        return ~annotations.ignore & wanted, np.full((len(annotations), 1), NEVER)
    return matched.counts & wanted, matched.found_at[:, None]


def _detections(
    detections: Detections, style: Style, matched: Matched | None
) -> tuple[BoolArray, IntArray]:
    """Return which detections are shown (N,), and which of them are right (N,): 1, else 0."""
    wanted = between(box_areas(detections), *style.areas)
    if matched is None:
        return wanted, np.ones(len(detections), np.int64)
    return (matched.right | matched.false) & wanted, matched.right.astype(np.int64)


def _rows(boxes: Annotations | Detections, numbers: FloatArray) -> list[list[float]]:
    """Return a row for each box: its label, its numbers, its corners."""
    corners = np.round(box_corners(boxes).reshape(-1, 8), DECIMALS).tolist()
    rows = zip(boxes.labels.tolist(), numbers.tolist(), corners, strict=True)
    return [[label, *own, *box] for label, own, box in rows]


def _outlines(truth: Annotations) -> list[list[float]]:
    return [np.round(one.ravel(), DECIMALS).tolist() for one in ignored_polygons(truth)]


def _has(entry: Entry, style: Style) -> bool:
    """Return whether an image has boxes of ``style.only`` at the style's score."""
    if style.only == "missed":
        return any(found_at < style.score for _, found_at, *_ in entry["objects"])
    return any(score >= style.score and not right for _, score, right, *_ in entry["detections"])


def _css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
