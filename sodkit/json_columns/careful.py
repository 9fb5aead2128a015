"""Any JSON list of records as columns, by msgspec.

The list is first cut into raw records (msgspec checks the syntax), which are decoded a few thousand
at a time, so a large file never stands in memory as objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sodkit.json_columns.fields import FLAG, INTEGER, NUMBERS, REFERENCE, TEXT, Field, JsonColumns
from sodkit.json_text import Buffer, Id, JsonError, Wrong, decode, decode_items, shown

_CHUNK = 20_000

_LARGEST_WHOLE = 2.0**53
"""Beyond it a float does not say which whole number is meant."""


def read_carefully(data: Buffer, fields: Mapping[str, Field], wrong: Wrong) -> JsonColumns:
    """Read a list of any form and length; see ``read_columns``."""
    raws = decode(data, list[msgspec.Raw])
    kind = _record_type(fields)
    positions: list[int] = []
    parts: dict[str, list[npt.NDArray[Any]]] = defaultdict(list)
    present: dict[str, list[npt.NDArray[np.bool_]]] = defaultdict(list)
    lengths: dict[str, list[int]] = defaultdict(list)
    loose: dict[str, list[Any]] = defaultdict(list)
    references = [name for name, field in fields.items() if field.kind == REFERENCE]
    for start in range(0, max(len(raws), 1), _CHUNK):
        items = decode_items(raws[start : start + _CHUNK], kind, wrong, start)
        for name in references:
            if any(isinstance(getattr(record, name), float) for _, record in items):
                items = [item for item in items if _make_whole(item, name, raws, wrong)]
        positions += [position for position, _ in items]
        records = [record for _, record in items]
        for name, field in fields.items():
            values = list(map(attrgetter(name), records))
            if field.kind in (REFERENCE, TEXT):
                loose[name] += values
            else:
                parts[name].append(_column(field, values))
            present[name].append(np.array([value is not None for value in values], np.bool_))
            if field.any_length:
                lengths[name] += [len(value or ()) for value in values]
    there = {name: np.concatenate(columns) for name, columns in present.items()}
    there = {name: one for name, one in there.items() if fields[name].required or one.any()}
    texts = {
        name: ["" if value is None else str(value) for value in values]
        for name, values in loose.items()
        if name in there and any(isinstance(value, str) for value in values)
    }
    parts |= {name: [_integers(values)] for name, values in loose.items() if name not in texts}
    columns = {name: np.concatenate(parts[name]) for name in there if name not in texts}
    offsets = {name: np.cumsum([0, *lengths[name]]) for name in there if name in lengths}
    real = {name: column for name, column in columns.items() if fields[name].kind == NUMBERS}
    whole = {name: column for name, column in columns.items() if name not in real}
    return JsonColumns(np.array(positions, np.int64), whole, real, offsets, there, texts)


def _make_whole(
    item: tuple[int, Any], name: str, raws: Sequence[msgspec.Raw], wrong: Wrong
) -> bool:
    """Make a whole float of a reference an integer; report another one, and return false."""
    position, record = item
    value = getattr(record, name)
    if isinstance(value, float):
        if not value.is_integer() or abs(value) > _LARGEST_WHOLE:
            what = f"expected a whole number or a text, found {shown(value)}"
            wrong(position, bytes(raws[position]), JsonError(what, "form", place=name))
            return False
        setattr(record, name, int(value))
    return True


def _integers(values: Sequence[Any]) -> npt.NDArray[np.int64]:
    return np.array([0 if value is None else value for value in values], np.int64)


def _record_type(fields: Mapping[str, Field]) -> type[Any]:
    """Return msgspec's type of a record."""
    members: list[Any] = []
    for name, field in fields.items():
        kind: Any = Id
        if field.kind == FLAG:
            kind = bool | int
        elif field.kind in (REFERENCE, TEXT):
            kind = Id | float | str if field.kind == REFERENCE else str
        elif field.any_length:
            kind = list[float]
        elif field.kind != INTEGER:
            kind = tuple[(float,) * field.width] if field.width else float  # type: ignore[misc]
        members.append((name, kind) if field.required else (name, kind | None, None))
    return msgspec.defstruct("Record", members, gc=False, kw_only=True)


def _column(field: Field, values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return one field of some records, see ``JsonColumns``."""
    if field.kind == FLAG:
        return np.array([bool(value) for value in values], np.int64)
    if field.kind == INTEGER:
        return _integers(values)
    nan = float("nan")
    if not field.width:
        return np.array([nan if value is None else value for value in values], np.float64)
    absent = () if field.any_length else (nan,) * field.width
    if absent and not any(values):
        return np.broadcast_to(nan, (len(values), field.width))  # takes no memory
    flat = chain.from_iterable(absent if value is None else value for value in values)
    column = np.fromiter(flat, np.float64)
    return column if field.any_length else column.reshape(-1, field.width)
