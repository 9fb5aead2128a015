"""The list ``annotations`` of a COCO file as columns; ``coco`` says what the fields mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.formats.assemble import Collected, box_corners
from sodkit.data.formats.reading import AS_STATED, Reading
from sodkit.data.formats.segmentation import (
    Extra,
    box_of,
    corners_of,
    extra_of,
    rectangular,
    rotation_of,
    starts_with_corners,
    turned,
)
from sodkit.data.formats.source import Report, data_error, item_error
from sodkit.data.records import CROWD, IGNORED, Category, ImageRecord, Note, Polygons
from sodkit.errors import DataError
from sodkit.geometry.rotated import obb_to_corners
from sodkit.json_columns import FLAG, INTEGER, NUMBERS, Field, JsonColumns, read_columns
from sodkit.json_text import FAULTS, JsonError

_FIELDS = {
    "image_id": Field(INTEGER, required=True),
    "category_id": Field(INTEGER, required=True),
    "id": Field(INTEGER),
    "bbox": Field(NUMBERS, 4),
    "area": Field(NUMBERS),
    "ignore": Field(FLAG),
    "iscrowd": Field(FLAG),
    "poly": Field(NUMBERS, 8, any_length=True),
    "obb": Field(NUMBERS, 5),
}

_FORM = (
    'an annotation is {"id": 1, "image_id": 1, "category_id": 1, "bbox": [x, y, width, height]}; '
    "image_id and category_id are ids in images and categories"
)

_WHOLE = ("id", "image_id", "category_id", "ignore", "iscrowd")
"""Fields of whole numbers, which some writers give as 1.0 or "1"."""

_LARGEST = 2.0**53
"""Beyond it a float does not say which whole number is meant."""

_HEAD = 1 << 16
"""So many bytes are looked into to see how boxes are written."""

FIVE_NUMBERS = rb'^\s*\[\s*\{[^{}]*?"bbox"\s*:\s*\[(?:[^][,]*,){4}[^][,]*\]'
"""A first annotation or prediction whose box has five numbers, before any object inside it."""

_MOSTLY = 0.9
"""From this share of rectangles on, four corners are oriented boxes."""


def collect_annotations(
    raw: msgspec.Raw,
    path: Path,
    images: Sequence[ImageRecord],
    categories: Sequence[Category],
    report: Report,
    reading: Reading = AS_STATED,
) -> Collected:
    """Read the list ``annotations`` of a COCO file.

    A missing box is that around the segmentation, else NaN. ``polygons`` are those of ``poly``,
    else of ``obb``, else of the box; None if there are only boxes. ``obb`` is that of annotations
    that have one, in files without ``poly``.

    Without ``poly`` and ``obb``, oriented boxes are read from what other tools write: CVAT's
    ``attributes.rotation`` (degrees clockwise, about the box's centre), segmentations that are all
    rectangles, some of them turned; and, if ``reading.angle`` states the unit, ``rbox`` or a
    ``bbox`` of five numbers (cx, cy, w, h, angle).

    Args:
        raw: valid JSON.
        path: the file it is from, for messages.
        images: of the file.
        categories: of the file.
        report: called with every annotation that is wrong; it is left out.
        reading: what the user decides.

    Raises:
        DataError: it is no list, or its boxes have five numbers and the unit of the angle is open.
    """

    def wrong(position: int, text: bytes, error: JsonError) -> None:
        report(item_error(error, text, path, f"annotations[{position}]", form=_FORM), "form")

    text = bytes(raw)
    fields, obb_name = _fields_of(text, path, reading)
    try:
        odd: dict[int, bytes] = {}
        found = read_columns(raw, fields, lambda at, item, _: odd.update({at: item}), is_json=True)
        if odd:
            text = _with_whole_ids(text, odd)
            found = read_columns(text, fields, wrong, is_json=True)
    except JsonError as error:
        raise data_error(error, text, path, "annotations") from error
    positions, integers, numbers = found.positions, found.integers, found.numbers
    count = len(found)
    ids = positions + 1
    if "id" in integers:
        ids = np.where(found.present["id"], integers["id"], ids)
    absent = np.zeros(count, np.int64)
    ignored, crowd = (integers.get(name, absent) for name in ("ignore", "iscrowd"))
    nothing = np.full((count, 4), np.nan)
    xywh = nothing if obb_name == "bbox" else numbers.get("bbox", nothing)
    extras = _Extras(text, positions)
    xywh = _around_segmentation(xywh, found, extras)
    obb = numbers.get(obb_name)
    polygons = _polygons(found, xywh, obb)
    notes: tuple[Note, ...] = ()
    if polygons is None:
        polygons, notes = _other_corners(text, xywh, extras, reading)
    return Collected(
        path=path,
        images=images,
        categories=categories,
        ids=ids,
        image_ids=integers["image_id"],
        category_ids=integers["category_id"],
        xywh=xywh,
        area=numbers.get("area", np.full(count, np.nan)),
        flags=ignored.astype(np.uint8) * IGNORED | crowd.astype(np.uint8) * CROWD,
        polygons=polygons,
        place=lambda row: f"{path}: annotations[{positions[row]}] (id {ids[row]})",
        obb=None if "poly" in found.present else obb,
        notes=notes,
    )


def _fields_of(text: bytes, path: Path, reading: Reading) -> tuple[dict[str, Field], str]:
    """Return the fields to read, and which of them is the oriented box.

    Raises:
        DataError: the boxes have five numbers and ``reading.angle`` is not set.
    """
    head = text[:_HEAD]
    if re.search(FIVE_NUMBERS, head):
        if reading.angle is None:
            raise DataError(
                "bbox has five numbers, an oriented box: is its angle in radians or degrees?",
                where=f"{path}: annotations[0].bbox",
                hint="cx, cy, w, h, angle is read with --angle radians or degrees (clockwise), or "
                "--angle degrees-ccw (counter-clockwise, as Detectron2 has it)",
            )
        return {**_FIELDS, "bbox": Field(NUMBERS, 5)}, "bbox"
    if b'"rbox"' in text and b'"obb"' not in head and reading.angle is not None:
        return {**_FIELDS, "rbox": Field(NUMBERS, 5)}, "rbox"
    return _FIELDS, "obb"


def _with_whole_ids(text: bytes, odd: Mapping[int, bytes]) -> bytes:
    """Return the list with 1.0 and "1" as 1 where ids and flags stand.

    Args:
        text: the list.
        odd: the annotations, by position, that are of another form than expected.
    """
    items = msgspec.json.decode(text, type=list[msgspec.Raw])
    for position, item in odd.items():
        try:
            record = msgspec.json.decode(item, type=dict[str, Any])
        except FAULTS:
            continue
        record |= {name: _whole(record[name]) for name in _WHOLE if name in record}
        items[position] = msgspec.Raw(msgspec.json.encode(record))
    return b"[" + b",".join(items) + b"]"


def _whole(value: object) -> object:
    """Return the integer that a whole float or a text of digits means, others as they are."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST:
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value


class _Extras:
    """What annotations have beside the fields that all files have; decoded when asked for."""

    def __init__(self, text: bytes, positions: IntArray) -> None:
        self._text, self._positions = text, positions

    def has(self, name: bytes) -> bool:
        """Return whether the text has a key of this name, at any depth."""
        return b'"' + name + b'"' in self._text

    def rows(self) -> list[Extra]:
        """Return those of each annotation that was read."""
        items = msgspec.json.decode(self._text, type=list[msgspec.Raw])
        return [extra_of(items[i]) for i in self._positions.tolist()]


def _around_segmentation(xywh: FloatArray, found: JsonColumns, extras: _Extras) -> FloatArray:
    """Return the boxes (N, 4), missing ones around the segmentations."""
    absent = np.isnan(xywh[:, 0])
    for name in ("poly", "obb", "rbox"):
        absent &= ~found.present.get(name, np.zeros(len(found), np.bool_))
    if not absent.any() or not extras.has(b"segmentation"):
        return xywh
    boxes, rows = np.array(xywh), extras.rows()
    for row in np.flatnonzero(absent).tolist():
        box = box_of(rows[row].segmentation)
        if box is not None:
            boxes[row] = box
    return boxes


def _other_corners(
    text: bytes, xywh: FloatArray, extras: _Extras, reading: Reading
) -> tuple[Polygons | None, tuple[Note, ...]]:
    """Return corners as other tools write them, None if the boxes are upright; and what to say."""
    count = len(xywh)
    if extras.has(b"rotation"):
        degrees = np.array([rotation_of(extra.attributes) for extra in extras.rows()])
        if degrees.any():
            centre, angle = xywh[:, :2] + xywh[:, 2:] / 2, np.radians(degrees)
            corners = obb_to_corners(np.column_stack([centre, xywh[:, 2:], angle]))
            what = f"{np.count_nonzero(degrees)} of {count} boxes are turned by attributes.rotation"
            return _four(corners), (Note("rotation", f"{what}: read as oriented boxes"),)
    if extras.has(b"rbox") and reading.angle is None:
        what = "rbox is there and not read: --angle radians, degrees or degrees-ccw reads it"
        return None, (Note("rbox", what),)
    if not extras.has(b"segmentation") or not (reading.oriented or starts_with_corners(text)):
        return None, ()
    drawn = [corners_of(extra.segmentation) for extra in extras.rows()]
    there = np.array([item is not None for item in drawn], np.bool_)
    if not there.any() or not (reading.oriented or there.all()):
        return None, ()
    corners = box_corners(xywh)
    corners[there] = np.array([item for item in drawn if item is not None]).reshape(-1, 4, 2)
    what = f"{int(there.sum())} of {count} segmentations have four corners"
    if reading.oriented or _mostly(rectangular(corners)):
        return _four(corners), (Note("four-corners", f"{what}: read as oriented boxes"),)
    slanted = int(turned(corners).sum())
    what += f", {slanted} of them turned: the boxes are read upright, --oriented reads the corners"
    return None, (Note("four-corners", what),)


def _mostly(true: BoolArray) -> bool:
    return bool(true.mean() > _MOSTLY)


def _four(corners: FloatArray) -> Polygons:
    """Return (N, 4, 2) corners as polygons."""
    return Polygons(corners.reshape(-1, 2), np.arange(len(corners) + 1) * 4)


def _polygons(found: JsonColumns, xywh: FloatArray, obb: FloatArray | None) -> Polygons | None:
    """Return the corners of all annotations, see ``collect_annotations``."""
    if obb is None and "poly" not in found.present:
        return None
    corners = box_corners(xywh)
    if obb is not None:
        there = ~np.isnan(obb[:, 0])
        corners[there] = obb_to_corners(obb[there])
    if "poly" not in found.present:
        return _four(corners)
    stated, lengths = found.present["poly"], np.diff(found.offsets["poly"])
    # An odd or empty list becomes one corner at the origin: it is refused later.
    whole = stated & (lengths > 0) & (lengths % 2 == 0)
    counts = np.where(whole, lengths, np.where(stated, 2, 8))
    points = np.zeros(counts.sum())
    points[np.repeat(whole, counts)] = found.numbers["poly"][np.repeat(whole, lengths)]
    points[np.repeat(~stated, counts)] = corners[~stated].ravel()
    return Polygons(points.reshape(-1, 2), np.concatenate([[0], np.cumsum(counts // 2)]))
