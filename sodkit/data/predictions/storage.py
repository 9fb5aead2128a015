"""Predictions on disk <-> ``Detections``: a JSON list of records, or the same columns as ``.npz``.

A record is ``{"image_id", "category_id", "score", "bbox": [x, y, w, h]}``; oriented boxes have
``"obb": [cx, cy, w, h, angle]`` or ``"poly"`` (8 numbers) instead of, or beside, ``bbox``. All
records of a file have the same kind of box. Class-agnostic proposals have no ``category_id``.

What is accepted: scores in [0, 1] (a percentage or a logit is an error: everything downstream
reads scores as confidences), sizes of 0 and more (a box without area matches nothing but is a
false positive), images and classes that the annotations know. Anything else is a ``DataError``
that names position and id; nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sodkit.arrays import BoolArray, IntArray
from sodkit.data.formats.reading import ANGLE_UNITS, Angle
from sodkit.data.predictions.columns import Columns, Stated
from sodkit.data.predictions.joining import (
    NONE,
    join_classes,
    join_images,
    read_beside,
    with_names,
)
from sodkit.data.predictions.json_records import ANGLE_OPTION, read_json
from sodkit.data.predictions.writing import write_parts
from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.errors import DataError
from sodkit.files import StrPath
from sodkit.geometry.rotated import MOST_RADIANS, canonical, corners_to_obb, obb_to_xywh

_AS_THEY_ARE = Stated()

_FARTHEST = 1e9
"""No image is as large, in px: areas of such boxes would leave what numbers can hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Predictions for the images of annotations.

    Attributes:
        detections: ids of images and indices of classes are those of the annotations.
        images: (M,) indices of the images that were predicted on, where the file says so; else
            those with a prediction.
        other_classes: how many predictions of other classes were left out.
    """

    detections: Detections
    images: IntArray
    other_classes: int = 0


def read_predictions(
    path: StrPath, annotations: Annotations, *, proposals: bool = False
) -> Detections:
    """Read predictions for the images of ``annotations``; arguments as ``read_predicted``."""
    path = Path(path)
    return read_predicted(path, annotations, proposals=proposals).detections


def read_predicted(
    path: Path,
    annotations: Annotations,
    *,
    proposals: bool = False,
    drop_other_classes: bool = False,
    stated: Stated = _AS_THEY_ARE,
    say: Callable[[str], None] = lambda message: None,
) -> Predicted:
    """Read predictions for the images of ``annotations``, and which images they are of.

    Args:
        path: ``.npz``; text files of DOTA's Task 1 or 2, YOLO or VisDrone as a folder, a ``.zip``
            or one ``.txt``; anything else is JSON.
        annotations: give the images, and the classes.
        proposals: class-agnostic: ``category_id`` may be absent and is not read; all labels 0.
        drop_other_classes: leave out predictions of classes that the annotations do not have.
        stated: what the user states where predictions can mean two things.
        say: called with a sentence about names that are matched though they differ, or that
            there is no prediction.

    Raises:
        DataError: the file is missing, malformed, truncated, mixes kinds of box, or holds
            an unknown image or class, a number that is not finite, a negative size, or a score
            outside [0, 1]; the message names the record and its image id.
    """
    try:
        columns = _read(path, annotations, proposals, stated.angle, say)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=path) from error
    if len(columns.score) == 0:
        say(f"{path}: holds no predictions: every object counts as missed")
        _, listed = join_images(columns, annotations.images, str(path), say)
        none = np.zeros(0, np.int64)
        return Predicted(Detections.empty(annotations.kind), none if listed is None else listed)
    if stated.angle is not None:
        columns = _with_angles(columns, stated.angle, str(path), say)
    _reject_bad_numbers(columns, str(path), stated.angle)
    index, images = join_images(columns, annotations.images, str(path), say)
    labels = np.zeros(len(columns.score), np.int64)
    if not proposals:
        labels = join_classes(
            columns, annotations.categories, str(path), say,
            drop=drop_other_classes, numbers=stated.category_ids,
        )  # fmt: skip
    found = _detections(columns, annotations.images, index, labels)
    images = np.flatnonzero(np.bincount(index)) if images is None else images
    keep = labels != NONE
    if keep.all():
        return Predicted(found, images)
    return Predicted(found.take(keep), images, int((~keep).sum()))


def _read(
    path: Path,
    annotations: Annotations,
    proposals: bool,
    angle: Angle | None,
    say: Callable[[str], None],
) -> Columns:
    """Read a file by its format, with the names that are listed beside it."""
    if not path.exists():
        raise DataError("no such predictions file", where=path)
    # Imported when used: zipfile is not needed for JSON.
    if path.is_dir() or path.suffix.lower() in (".txt", ".zip"):
        from sodkit.data.predictions.text_files import read_text_files

        names = [category.name for category in annotations.categories]
        return read_text_files(path, names, oriented=annotations.kind == "oriented", say=say)
    if path.suffix == ".npz":
        from sodkit.data.predictions.npz_columns import read_npz

        columns = read_npz(path, with_category=not proposals)
    else:
        columns = read_json(path, angle)
    return with_names(columns, read_beside(path), str(path))


def write_predictions(
    path: StrPath, detections: Detections, categories: tuple[Category, ...] | None
) -> None:
    """Write detections as JSON, or as columns if ``path`` ends in ``.npz``; all or nothing.

    Args:
        path: the file; replaced if it exists.
        detections: of any number of images.
        categories: the classes in label order, whose ids are written; None for proposals.
    """
    path = Path(path)
    write_parts(path, [detections], categories)


def _detections(
    columns: Columns, images: Sequence[ImageRecord], index: IntArray, labels: IntArray
) -> Detections:
    """Return columns as detections; ``index``: of each prediction's image."""
    boxes = columns.boxes
    if columns.shares:
        sizes = np.array([(image.width, image.height) for image in images], np.float64)
        boxes = boxes * np.tile(sizes[index], boxes.shape[1] // 2)
    ids = np.array([image.id for image in images], np.int64)[index]
    if columns.kind == "bbox":
        return Detections(ids, labels, columns.score, boxes)
    oriented = columns.kind == "obb"
    obb = canonical(boxes) if oriented else corners_to_obb(boxes.reshape(-1, 4, 2))
    return Detections(ids, labels, columns.score, obb_to_xywh(obb), obb)


def _with_angles(columns: Columns, angle: Angle, where: str, say: Callable[[str], None]) -> Columns:
    """Return the columns with angles in radians, clockwise."""
    if columns.kind != "obb":
        say(f"{where}: boxes are {columns.kind}, without an angle: its unit does not matter")
        return columns
    boxes = columns.boxes.copy()
    boxes[:, 4] *= ANGLE_UNITS[angle]
    return replace(columns, boxes=boxes)


def _reject_bad_numbers(columns: Columns, where: str, angle: Angle | None) -> None:
    def reject(bad: BoolArray, what: str, hint: str | None = None) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            count = int(bad.sum())
            more = f" ({count} such predictions)" if count > 1 else ""
            raise DataError(what + more, where=columns.place(row, where), hint=hint)

    score, boxes = columns.score, columns.boxes
    reject(~np.isfinite(score), "the score is not a finite number")
    reject(score < 0, "the score is negative")
    reject(score > 1, "the score is above 1", "scores are confidences from 0 to 1")
    odd = ~np.isfinite(boxes)
    reject(np.logical_or.reduce(odd, axis=1), f"{columns.kind} has a number that is not finite")
    far = np.abs(boxes) > _FARTHEST
    reject(
        np.logical_or.reduce(far, axis=1), f"{columns.kind} has a number beyond {_FARTHEST:g} px"
    )
    if columns.kind != "poly":
        below = np.minimum(boxes[:, 2], boxes[:, 3]) < 0
        reject(below, f"{columns.kind} has a negative width or height")
    if columns.kind == "obb" and angle in (None, "radians"):
        reject(
            np.abs(boxes[:, 4]) > MOST_RADIANS,
            "the angle lies beyond two pi: these are degrees, and radians are expected",
            f"say what they are with {ANGLE_OPTION}",
        )
