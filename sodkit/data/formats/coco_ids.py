"""COCO files whose images or categories have texts for ids: they are numbered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sodkit.data.records import Note
from sodkit.json_text import FAULTS

_WHAT = "the {} ids that {} names are texts: they are counted from 1 instead"
_DIGITS = 19


class _AnyId(msgspec.Struct, gc=False):
    id: Any = None


def number_texts(
    items: Sequence[msgspec.Raw], annotations: msgspec.Raw, field: str
) -> tuple[list[msgspec.Raw], msgspec.Raw, tuple[Note, ...]] | None:
    """Return images or categories, and annotations, with numbers in place of texts; and a note.

    Args:
        items: ``images`` or ``categories``.
        annotations: the list ``annotations``, valid JSON.
        field: of an annotation, that names the item by its id: ``image_id`` or ``category_id``.

    Returns:
        None if the ids are not all texts, or are plain numbers written as texts.
    """
    if not items or not isinstance(_id_of(items[0]), str):
        return None
    ids = [_id_of(item) for item in items]
    if not all(isinstance(name, str) for name in ids):
        return None
    names = list(dict.fromkeys(ids))
    numbers = {name: place for place, name in enumerate(names, start=1)}
    notes: tuple[Note, ...] = (Note("text-ids", _WHAT.format(len(names), field)),)
    if all(name.isascii() and name.isdigit() and len(name) < _DIGITS for name in names):
        if not any(name != "0" and name.startswith("0") for name in names):
            return None
        if len({int(name) for name in names}) == len(names):
            numbers, notes = {name: int(name) for name in names}, ()
    try:
        records = msgspec.json.decode(annotations, type=list[dict[str, Any]])
    except FAULTS:
        return None
    for record in records:
        if isinstance(record.get(field), str):
            record[field] = numbers.get(record[field], record[field])
    named = [_renumbered(item, numbers) for item in items]
    return named, msgspec.Raw(msgspec.json.encode(records)), notes


def _id_of(item: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(item, type=_AnyId).id
    except FAULTS:
        return None


def _renumbered(item: msgspec.Raw, numbers: dict[str, int]) -> msgspec.Raw:
    record = msgspec.json.decode(item, type=dict[str, Any])
    return msgspec.Raw(msgspec.json.encode({**record, "id": numbers[record["id"]]}))
