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

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from sodkit.arrays import BoolArray, IntArray
from sodkit.data.predictions.columns import Columns
from sodkit.data.predictions.json_records import read_json
from sodkit.data.records import Annotations, Category, Detections
from sodkit.errors import DataError
from sodkit.files import atomic_path
from sodkit.geometry.rotated import MOST_RADIANS, canonical, corners_to_obb, obb_to_xywh

_FARTHEST = 1e9
"""No image is as large, in px: areas of such boxes would leave what numbers can hold."""


def read_predictions(
    path: Path, annotations: Annotations, *, proposals: bool = False
) -> Detections:
    """Read predictions for the images of ``annotations``.

    Args:
        path: ``.npz``, anything else is JSON.
        annotations: give the images, and the classes that ``category_id`` refers to.
        proposals: class-agnostic: ``category_id`` may be absent and is not read; all labels 0.

    Raises:
        DataError: the file is missing, malformed, truncated, empty, mixes kinds of box, or holds
            an unknown image or class, a number that is not finite, a negative size, or a score
            outside [0, 1]; the message names the record and its image id.
    """
    if not path.is_file():
        raise DataError("no such predictions file", where=path)
    try:
        columns = _read_npz(path, proposals) if path.suffix == ".npz" else read_json(path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=path) from error
    if len(columns.score) == 0:
        raise DataError(
            "holds no predictions", where=path, hint="was the score threshold too high?"
        )
    return _detections(columns, annotations, proposals, str(path))


def write_predictions(
    path: Path, detections: Detections, categories: tuple[Category, ...] | None
) -> None:
    """Write detections as JSON, or as columns if ``path`` ends in ``.npz``; all or nothing.

    Args:
        path: the file; replaced if it exists.
        detections: of any number of images.
        categories: the classes in label order, whose ids are written; None for proposals.
    """
    ids = None
    if categories is not None:
        ids = np.array([category.id for category in categories], np.int64)[detections.labels]
    with atomic_path(path) as temporary:
        if path.suffix == ".npz":
            _write_npz(temporary, detections, ids)
        else:
            _write_json(temporary, detections, ids)


def _write_npz(path: Path, detections: Detections, category_ids: IntArray | None) -> None:
    columns: dict[str, npt.NDArray[np.generic]] = {
        "image_id": detections.image_ids,
        "score": detections.scores,
    }
    if detections.obb is None:
        columns["bbox"] = detections.xywh
    else:
        columns["obb"] = detections.obb
    if category_ids is not None:
        columns["category_id"] = category_ids
    with path.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **columns)


def _write_json(path: Path, detections: Detections, category_ids: IntArray | None) -> None:
    """Write one record a line, some thousand at a time: memory stays small."""
    encode = msgspec.json.Encoder().encode
    key = "bbox" if detections.obb is None else "obb"
    boxes = detections.xywh if detections.obb is None else detections.obb
    with path.open("wb") as stream:
        stream.write(b"[")
        for start in range(0, len(detections), 10_000):
            rows = slice(start, start + 10_000)
            columns: dict[str, list[object]] = {"image_id": detections.image_ids[rows].tolist()}
            if category_ids is not None:
                columns["category_id"] = category_ids[rows].tolist()
            columns["score"] = detections.scores[rows].tolist()
            columns[key] = boxes[rows].tolist()
            records = zip(*columns.values(), strict=True)
            lines = [encode(dict(zip(columns, record, strict=True))) for record in records]
            stream.write((b"\n" if start == 0 else b",\n") + b",\n".join(lines))
        stream.write(b"\n]\n")


def _read_npz(path: Path, proposals: bool) -> Columns:
    # Imported here: zipfile is not needed for JSON.
    from sodkit.data.predictions.npz_columns import read_npz

    return read_npz(path, with_category=not proposals)


def _detections(
    columns: Columns, annotations: Annotations, proposals: bool, where: str
) -> Detections:
    """Check the columns and turn ids into indices."""
    _reject_bad_numbers(columns, where)
    _check_images(columns, annotations, where)
    labels = np.zeros(len(columns.score), np.int64)
    if not proposals:
        labels = _labels(columns, annotations, where)
    xywh, obb = columns.boxes, None
    if columns.kind != "bbox":
        if columns.kind == "poly":
            obb = corners_to_obb(columns.boxes.reshape(-1, 4, 2))
        else:
            obb = canonical(columns.boxes)
        xywh = obb_to_xywh(obb)
    return Detections(columns.image_id, labels, columns.score, xywh, obb)


def _reject_bad_numbers(columns: Columns, where: str) -> None:
    def reject(bad: BoolArray, what: str, hint: str | None = None) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            count = int(bad.sum())
            more = f" ({count} such predictions)" if count > 1 else ""
            raise DataError(what + more, where=_place(columns, row, where), hint=hint)

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
    if columns.kind == "obb":
        reject(
            np.abs(boxes[:, 4]) > MOST_RADIANS,
            "the angle lies beyond two pi: these are degrees, and radians are expected",
            "write radians, clockwise with y down: degrees times pi / 180",
        )


def _check_images(columns: Columns, annotations: Annotations, where: str) -> None:
    known = np.unique(np.array([image.id for image in annotations.images], np.int64))
    unknown = ~_is_known(columns.image_id, known)
    if unknown.any():
        row = int(np.argmax(unknown))
        raise DataError(
            f"image {columns.image_id[row]} is not in the annotations"
            f" ({int(unknown.sum())} of {len(unknown)} predictions are of unknown images)",
            where=_place(columns, row, where),
            hint="predict on these annotations' images, or evaluate against the others",
        )


def _labels(columns: Columns, annotations: Annotations, where: str) -> IntArray:
    """Return class indices for the category ids."""
    if columns.category_id is None:
        raise DataError(
            "predictions have no category_id", where=where, hint="are these --proposals?"
        )
    ids = np.array([category.id for category in annotations.categories], np.int64)
    order = np.argsort(ids, kind="stable")
    unknown = ~_is_known(columns.category_id, ids[order])
    if unknown.any():
        row = int(np.argmax(unknown))
        names = ", ".join(f"{category.id} {category.name}" for category in annotations.categories)
        raise DataError(
            f"category_id {columns.category_id[row]} is no class of the annotations"
            f" ({int(unknown.sum())} of {len(unknown)} predictions have an unknown one)",
            where=_place(columns, row, where),
            hint=f"the classes are: {names}; category_id is the data set's id, not an index",
        )
    return np.asarray(order[np.searchsorted(ids[order], columns.category_id)], np.int64)


def _is_known(values: IntArray, ordered: IntArray) -> BoolArray:
    """Return (N,) which values are in a sorted array; by a table if the range allows, for speed."""
    if len(ordered) == 0:
        return np.zeros(len(values), np.bool_)
    low, high = int(ordered[0]), int(ordered[-1])
    if high - low > 10_000_000:
        place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
        return np.asarray(ordered[place] == values)
    table = np.zeros(high - low + 3, np.bool_)
    table[ordered - low + 1] = True
    return np.asarray(table[np.clip(values, low - 1, high + 1) - low + 1])


def _place(columns: Columns, row: int, where: str) -> str:
    return f"{where}: $[{row}] (image_id {columns.image_id[row]})"
