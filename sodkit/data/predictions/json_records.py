"""Reading the JSON list of predictions into columns: complete, careful, memory-lean.

The list is first cut into raw records (msgspec checks the syntax), which are decoded a few
thousand at a time, so a large file never stands in memory as objects.
"""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np

from sodkit.data.predictions.columns import KINDS, Columns
from sodkit.errors import DataError
from sodkit.json_text import FAULTS, JsonError, decode, explain

_CHUNK = 20_000


_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Record(msgspec.Struct, gc=False):
    """One prediction as a file has it."""

    image_id: _Id
    score: float
    category_id: _Id | None = None
    bbox: tuple[float, float, float, float] | None = None
    obb: tuple[float, float, float, float, float] | None = None
    poly: tuple[float, float, float, float, float, float, float, float] | None = None


def parse_json(data: bytes, where: str) -> Columns:
    """Read a JSON list of predictions.

    Args:
        data: the file's content.
        where: the file's name, for messages.

    Raises:
        DataError: not JSON (with the byte, and the record and image id around it), not a list, or
            a record that lacks a field, has a wrong type or another kind of box than the first.
    """
    try:
        raw = decode(data, list[msgspec.Raw])
    except JsonError as error:
        raise _malformed(error, data, where) from error
    decoder = msgspec.json.Decoder(_Record)
    parts: list[Columns] = []
    for start in range(0, len(raw), _CHUNK):
        records = []
        for index, text in enumerate(raw[start : start + _CHUNK], start):
            try:
                records.append(decoder.decode(text))
            except FAULTS as error:
                raise _wrong_record(error, bytes(text), index, where) from error
        parts.append(_columns(records, start, parts[0] if parts else None, where))
    return _join(parts)


def _columns(records: list[_Record], start: int, first: Columns | None, where: str) -> Columns:
    """Turn records into columns; ``first`` says which fields all records must have."""
    kind = first.kind if first else _kind(records[0])
    if kind is None:
        raise DataError("has none of bbox, obb, poly", where=_place(records[0], start, where))
    agnostic = first.category_id is None if first else records[0].category_id is None
    for index, record in enumerate(records, start):
        other = _kind(record)
        if other != kind:
            what = f"has {other or 'no box'}, the predictions before have {kind}"
            raise DataError(f"mixed kinds of box: {what}", where=_place(record, index, where))
        if (record.category_id is None) != agnostic:
            what = "has no category_id" if not agnostic else "has a category_id"
            raise DataError(f"{what}, unlike those before", where=_place(record, index, where))
    count = len(records)
    ids = [] if agnostic else [record.category_id for record in records]
    boxes = chain.from_iterable(getattr(record, kind) for record in records)
    return Columns(
        np.fromiter((record.image_id for record in records), np.int64, count),
        None if agnostic else np.array(ids, np.int64),
        np.fromiter((record.score for record in records), np.float64, count),
        np.fromiter(boxes, np.float64, count * KINDS[kind]).reshape(count, -1),
        kind,
    )


def _kind(record: _Record) -> str | None:
    """Return the field that holds the box: an oriented one before ``bbox``."""
    if record.obb is not None:
        return "obb"
    if record.poly is not None:
        return "poly"
    return None if record.bbox is None else "bbox"


def _join(parts: list[Columns]) -> Columns:
    if not parts:
        return Columns(np.zeros(0, np.int64), None, np.zeros(0), np.zeros((0, 4)), "bbox")
    ids = [part.category_id for part in parts if part.category_id is not None]
    return Columns(
        np.concatenate([part.image_id for part in parts]),
        np.concatenate(ids) if ids else None,
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        parts[0].kind,
    )


def _place(record: _Record, index: int, where: str) -> str:
    return f"{where}: $[{index}] (image_id {record.image_id})"


def _wrong_record(error: Exception, text: bytes, index: int, where: str) -> DataError:
    """Name the record that has a missing field or a wrong type."""
    loose: Any = None
    with suppress(JsonError):  # not UTF-8, or a number too large: the id stays unknown
        loose = decode(text, object)
    known = isinstance(loose, dict) and "image_id" in loose
    about = f" (image_id {loose['image_id']})" if known else ""
    what = explain(error, text)
    return DataError(
        str(error if what.reason == "form" else what), where=f"{where}: $[{index}]{about}"
    )


def _malformed(error: JsonError, data: bytes, where: str) -> DataError:
    """Say where the JSON breaks: the byte, and the record around it."""
    if error.reason == "form":
        hint = (
            "a file of annotations? Predictions are a list" if data.lstrip()[:1] == b"{" else None
        )
        return DataError(f"not a list of predictions: {error}", where=where, hint=hint)
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
        return DataError(str(error), where=place)
    if error.reason == "end":
        return DataError(
            f"the file breaks off after {len(data)} bytes",
            where=place,
            hint="was it copied or written completely?",
        )
    return DataError(f"not valid JSON: {error}, byte {position}", where=place)
