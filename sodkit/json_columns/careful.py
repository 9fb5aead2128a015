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

from sodkit.json_columns.fields import FLAG, INTEGER, NUMBERS, Field, JsonColumns
from sodkit.json_text import Buffer, Id, Wrong, decode, decode_items

_CHUNK = 20_000


def read_carefully(data: Buffer, fields: Mapping[str, Field], wrong: Wrong) -> JsonColumns:
    """Read a list of any form and length; see ``read_columns``."""
    raws = decode(data, list[msgspec.Raw])
    kind = _record_type(fields)
    positions: list[int] = []
    parts: dict[str, list[npt.NDArray[Any]]] = defaultdict(list)
    present: dict[str, list[npt.NDArray[np.bool_]]] = defaultdict(list)
    lengths: dict[str, list[int]] = defaultdict(list)
    for start in range(0, max(len(raws), 1), _CHUNK):
        items = decode_items(raws[start : start + _CHUNK], kind, wrong, start)
        positions += [position for position, _ in items]
        records = [record for _, record in items]
        for name, field in fields.items():
            values = list(map(attrgetter(name), records))
            parts[name].append(_column(field, values))
            present[name].append(np.array([value is not None for value in values], np.bool_))
            if field.any_length:
                lengths[name] += [len(value or ()) for value in values]
    there = {name: np.concatenate(columns) for name, columns in present.items()}
    there = {name: one for name, one in there.items() if fields[name].required or one.any()}
    columns = {name: np.concatenate(parts[name]) for name in there}
    offsets = {name: np.cumsum([0, *lengths[name]]) for name in there if name in lengths}
    real = {name: column for name, column in columns.items() if fields[name].kind == NUMBERS}
    whole = {name: column for name, column in columns.items() if name not in real}
    return JsonColumns(np.array(positions, np.int64), whole, real, offsets, there)


def _record_type(fields: Mapping[str, Field]) -> type[Any]:
    """Return msgspec's type of a record."""
    members: list[Any] = []
    for name, field in fields.items():
        kind: Any = Id
        if field.kind == FLAG:
            kind = bool | int
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
        return np.array([0 if value is None else value for value in values], np.int64)
    nan = float("nan")
    if not field.width:
        return np.array([nan if value is None else value for value in values], np.float64)
    absent = () if field.any_length else (nan,) * field.width
    if absent and not any(values):
        return np.broadcast_to(nan, (len(values), field.width))  # takes no memory
    flat = chain.from_iterable(absent if value is None else value for value in values)
    column = np.fromiter(flat, np.float64)
    return column if field.any_length else column.reshape(-1, field.width)
