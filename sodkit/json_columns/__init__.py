"""JSON lists of like records as columns: ``read_columns`` is all that others call.

A long list in its usual form is read by loops of our own (``scan``, ``decimals``), every other one
by msgspec (``careful``), to the same columns. Why the loops stay: processor seconds on 800 000
predictions (66 MB) and 81 000 annotations (10 MB), two cores, two other programs running.

| reader | predictions, annotations | whole evaluation |
|---|---|---|
| ``scan`` | .36, .17 | 1.5 |
| DuckDB | .69, .53 | 2.2, by addition |
| msgspec, ``Struct(gc=False)`` | | 3.0 |
| hotcoco, the peer to beat | | 2.7 |

msgspec would make the evaluation slower than the peer. DuckDB would not, but it is 69 MB, and it
reads the image id 4.7 as 5, the text "0.5" as a score and ``true`` as 1 without a word.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from sodkit.json_columns.careful import read_carefully
from sodkit.json_columns.fields import (
    FLAG,
    INTEGER,
    NUMBERS,
    REFERENCE,
    TEXT,
    Field,
    JsonColumns,
)
from sodkit.json_text import FAULTS, Buffer, Wrong

__all__ = [
    "FLAG",
    "INTEGER",
    "NUMBERS",
    "REFERENCE",
    "TEXT",
    "Field",
    "JsonColumns",
    "read_columns",
]

LARGE = 2_000_000
"""Bytes from which on a list is worth loading the compiled reader."""


def read_columns(
    data: Buffer, fields: Mapping[str, Field], wrong: Wrong, *, is_json: bool = False
) -> JsonColumns:
    """Read a JSON list of records; other fields than ``fields`` are skipped.

    Args:
        data: the text, without a byte order mark.
        fields: what to read, by name.
        wrong: called with the position, text and error of each record of another form; if it
            returns, the record is left out.
        is_json: the text is known to be valid JSON.

    Raises:
        JsonError: the text is no JSON, or no list.
    """
    if len(memoryview(data)) >= LARGE:
        # Imported here: small files do not pay for loading the compiled reader.
        from sodkit.json_columns.scan import scan

        text = np.frombuffer(data, np.uint8)
        found = scan(text, fields, is_json=is_json)
        if found is None and not is_json and _is_json(data):
            found = scan(text, fields, is_json=True)
        if found is not None:
            return found
    return read_carefully(data, fields, wrong)


def _is_json(data: Buffer) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except FAULTS:
        return False
    return True
