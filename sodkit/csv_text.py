"""CSV as every command writes it, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

Cell = str | int | float | None

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
"""A spreadsheet takes a text that begins like this for a formula, and runs it."""


def csv_text(rows: Iterable[Sequence[Cell]]) -> str:
    """Return rows as CSV; None is an empty cell.

    A text that a spreadsheet would run gets an apostrophe in front; numbers, also as text, do not.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)  # with other line ends than its own it quotes no \r
    writer.writerows([_safe(cell) for cell in row] for row in rows)
    return stream.getvalue()


def _safe(cell: Cell) -> Cell:
    if not isinstance(cell, str) or not cell.startswith(_FORMULA) or _is_number(cell):
        return cell
    return f"'{cell}"


def _is_number(text: str) -> bool:
    try:
        return text[0] in "+-" and math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False
