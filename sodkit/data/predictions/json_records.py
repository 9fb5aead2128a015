"""A JSON file of predictions as columns, with the record that is wrong and its image id.

It is a list of records, or COCO JSON whose annotations have a score (FiftyOne writes that): there
its own lists say which images and classes the ids mean.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from functools import partial
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sodkit.arrays import IntArray
from sodkit.data.formats.coco_columns import FIVE_NUMBERS
from sodkit.data.formats.reading import Angle
from sodkit.data.predictions.columns import KINDS, Columns, numbered
from sodkit.data.predictions.joining import Beside, Names, with_names
from sodkit.data.predictions.other_tools import RECORD, refuse_file, refuse_json
from sodkit.errors import DataError
from sodkit.json_columns import NUMBERS, REFERENCE, TEXT, Field, JsonColumns, read_columns
from sodkit.json_text import BOM, JsonError, decode

ANGLE_OPTION = (
    "--predictions-angle radians or degrees (clockwise with y down), or --predictions-angle "
    "degrees-ccw (counter-clockwise, as Detectron2 has it)"
)
"""What the option for the angles of predictions takes, for messages."""

_HEAD = 1 << 16
"""So many bytes are looked into to see how boxes are written."""

_FIELDS = {
    "image_id": Field(REFERENCE, required=True),
    "score": Field(NUMBERS, required=True),
    "category_id": Field(REFERENCE),
    "file_name": Field(TEXT),
    "category_name": Field(TEXT),
    **{kind: Field(NUMBERS, width) for kind, width in KINDS.items()},
}


def read_json(path: Path, angle: Angle | None = None) -> Columns:
    """Read a JSON list of predictions.

    A ``bbox`` of five numbers (cx, cy, w, h, angle) is read as ``obb`` if the unit is known.

    Args:
        path: the file.
        angle: unit and direction of angles, None: not stated.

    Raises:
        DataError: not JSON (with the byte, and the record and image id around it), not a list, or
            a record that lacks a field, has a wrong type or another kind of box than the first;
            or boxes of five numbers without ``angle``.
        OSError: the file cannot be read.
    """
    data, where, beside, hint = _content(path), str(path), None, RECORD
    refuse_file(path, bytes(data[:_HEAD]))
    if bytes(data[:_HEAD]).lstrip()[:1] == b"{":
        file = _coco_file(bytes(data), where)
        data, beside, hint = memoryview(file.annotations), Beside.of(path, file), _NO_SCORE
    five = re.search(FIVE_NUMBERS, bytes(data[:_HEAD])) is not None
    if five and angle is None:
        raise DataError(
            "bbox has five numbers, an oriented box: is its angle in radians or degrees?",
            where=f"{where}: $[0]",
            hint=f"boxes of cx, cy, w, h, angle are read with {ANGLE_OPTION}",
        )
    fields = {**_FIELDS, "bbox": Field(NUMBERS, 5)} if five else _FIELDS
    try:
        found = read_columns(data, fields, partial(_reject, where, hint))
    except JsonError as error:
        raise _malformed(error, bytes(data), where) from error
    columns = _columns(found, where)
    if five and columns.kind == "bbox":
        columns = replace(columns, kind="obb")
    return with_names(columns, beside, where)


class _CocoFile(Names):
    annotations: msgspec.Raw


def _coco_file(data: bytes, where: str) -> _CocoFile:
    """Return a JSON object as COCO JSON, or raise what it is instead."""
    try:
        return decode(data, _CocoFile)
    except JsonError as error:
        form = error
    try:  # the form is judged first: the rest may be no JSON
        refuse_json(decode(data, object), where)
    except JsonError as error:
        raise _malformed(error, data, where) from error
    raise DataError("not a list of predictions", where=where, hint=RECORD) from form


def _content(path: Path) -> memoryview:
    """Return a file's content without a byte order mark, as it lies in the page cache."""
    if path.stat().st_size == 0:  # nothing can be mapped
        return memoryview(b"")
    with path.open("rb") as stream:
        # Not closed by hand: an array still looks at it if Ctrl-C ends the reading.
        data = memoryview(mmap(stream.fileno(), 0, access=ACCESS_READ))
    return data[len(BOM) :] if data[: len(BOM)] == BOM else data


def _columns(found: JsonColumns, where: str) -> Columns:
    """Check that all records have the fields of the first."""
    if not len(found):
        return Columns(np.zeros(0, np.int64), None, np.zeros(0), np.zeros((0, 4)), "bbox")
    names = [*KINDS]
    kinds = np.full(len(found), len(names))
    for number, name in reversed([*enumerate(names)]):
        if name in found.present:
            kinds[found.present[name]] = number
    first = int(kinds[0])
    if first == len(names):
        raise DataError(
            "has none of bbox, obb, poly",
            where=_place(found, 0, where),
            hint="a file of masks? Give the file of boxes that was written with it (.bbox.json)",
        )
    with_category = found.present.get("category_id", np.zeros(len(found), np.bool_))
    odd = np.flatnonzero((kinds != first) | (with_category != with_category[0]))
    if len(odd):
        row = int(odd[0])
        other = [*names, "no box"][kinds[row]]
        if kinds[row] != first:
            what = f"mixed kinds of box: has {other}, the predictions before have {names[first]}"
        else:
            what = f"has {'a' if with_category[row] else 'no'} category_id, unlike those before"
        raise DataError(what, where=_place(found, row, where))
    image_id, image_names = _references(found, "image_id", "file_name")
    category_id, class_names = _references(found, "category_id", "category_name")
    assert image_id is not None  # it is required
    return Columns(
        image_id=image_id,
        category_id=category_id,
        score=found.numbers["score"],
        boxes=found.numbers[names[first]],
        kind=names[first],
        image_names=image_names,
        class_names=class_names,
    )


def _references(
    found: JsonColumns, field: str, name: str
) -> tuple[IntArray | None, tuple[str, ...] | None]:
    """Return ids, or indices into names: those of ``name`` if all records have it."""
    there = found.present.get(name)
    if there is not None and there.all():
        return numbered(found.texts[name])
    if field in found.texts:
        return numbered(found.texts[field])
    return found.integers.get(field), None


def _place(found: JsonColumns, row: int, where: str) -> str:
    ids = found.texts.get("image_id", found.integers.get("image_id"))
    assert ids is not None
    return f"{where}: $[{row}] (image_id {ids[row]})"


def _reject(where: str, hint: str, index: int, text: bytes, error: JsonError) -> None:
    """Raise for the record that has a missing field or a wrong type."""
    loose: Any = None
    with suppress(JsonError):  # not UTF-8, or a number too large: the id stays unknown
        loose = decode(text, object)
    known = isinstance(loose, dict) and "image_id" in loose
    if not known:
        refuse_json(loose, where)
    about = f" (image_id {loose['image_id']})" if known else ""
    field = f"{error.place}: " if error.reason == "form" and error.place else ""
    raise DataError(f"{field}{error}", where=f"{where}: $[{index}]{about}", hint=hint) from error


_NO_SCORE = "is it a file of annotations? Each of a prediction's boxes has a score"


def _malformed(error: JsonError, data: bytes, where: str) -> DataError:
    """Say where the JSON breaks: the byte, and the record around it."""
    if error.reason == "form":
        return DataError("not a list of predictions", where=where, hint=RECORD)
    if error.reason == "depth":
        return DataError(str(error), where=where)
    position = len(data) if error.byte is None else error.byte
    start = data.rfind(b"{", 0, position)
    record = data[start : position + 200] if start >= 0 else b""
    image = re.search(rb'"image_id"\s*:\s*(-?\d{1,20})\b', record)
    index = max(data.count(b"{", 0, position) - 1, 0)
    about = f" (image_id {image[1].decode()})" if image else ""
    place = f"{where}: $[{index}]{about}"
    if re.match(rb"-?(NaN|Infinity)", data[position : position + 9]):
        return DataError("holds NaN or Infinity, which is no number", where=place)
    if error.reason == "encoding":
        return DataError(str(error), where=place, hint=_READ)
    if error.reason == "end":
        return DataError(
            f"the file breaks off after {len(data)} bytes",
            where=place,
            hint="was it copied or written completely?",
        )
    hint = None if data.lstrip()[:1] in (b"[", b"{") else _READ
    return DataError(f"not valid JSON: {error}, byte {position}", where=place, hint=hint)


_READ = (
    "what is read: a JSON list of records, .npz, or text files of DOTA's tasks, YOLO or VisDrone "
    "(a folder, .zip or .txt)"
)
