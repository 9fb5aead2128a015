"""Tables as text: what a command prints and a notebook shows, with the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar

MOST_ROWS = 500
"""Rows that are shown: rich takes a minute for the 80 000 classes of a wrong label file."""

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table; None is a cell without a value.

    Attributes:
        title: above the table; "": none.
        columns: their names; the first one names the rows.
        rows: their cells.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]

    def html(self) -> str:
        """Return the table as HTML; every text is escaped, rows that are left out are counted."""
        shown, hidden = most_rows(self.rows)
        heads = _cells("th", self.columns)
        body = "".join(f"<tr>{_cells('td', cell_texts(row))}</tr>" for row in shown)
        title = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        more = f"<p>{hidden} rows are not shown</p>" if hidden else ""
        return f"<table>{title}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{more}"


def most_rows(rows: Sequence[Row]) -> tuple[Sequence[Row], int]:
    """Return the rows that are shown, the last one among them, and how many are not."""
    hidden = max(len(rows) - MOST_ROWS, 0)
    return ([*rows[: MOST_ROWS - 1], rows[-1]] if hidden else rows), hidden


def cell_texts(row: Sequence[object]) -> list[str]:
    """Return cells as text; None is a dash."""
    return ["-" if cell is None else str(cell) for cell in row]


def number(value: float | None, form: str) -> str | None:
    """Return a number in a format such as ``.3f``; None stays."""
    return None if value is None else format(value, form)


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
