"""Tables on stdout, readable in a terminal of any width."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sodkit.table_text import cell_texts, most_rows

if TYPE_CHECKING:
    from rich.table import Table

_FRAME = 3
"""Characters between two columns."""


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    texts: Collection[int] = (0,),
) -> None:
    """Print a table on stdout; None is a dash.

    The title is a line of its own, never folded: it may hold a path that somebody copies. Where the
    terminal is too narrow the columns of numbers are shown in several tables, one below the other,
    with the first column in each; texts are folded. Without a terminal nothing is. Of more than
    ``MOST_ROWS`` rows the last is shown, and a line on stderr says how many are not.

    Args:
        title: above the table; "": none.
        columns: their names.
        rows: their cells.
        texts: columns that are flush left, numbers from 0; the others are flush right.
    """
    from rich.console import Console

    shown, hidden = most_rows(rows)
    cells = [cell_texts(row) for row in shown]
    widths, room = _widths(columns, cells), terminal_width()
    blocks = [list(range(len(columns)))]
    if room is not None and tuple(texts) == (0,):
        blocks = column_blocks(widths, room)
    console = Console(width=room or sum(widths) + _FRAME * len(widths) + 1, highlight=False)
    if title:
        console.print(title, style="bold", markup=False, soft_wrap=True)
    for block in blocks:
        console.print(_table(columns, cells, block, texts))
    if hidden:
        print(f"{hidden} rows are not shown; --json has them all", file=sys.stderr, flush=True)


def terminal_width() -> int | None:
    """Return the width in characters of the terminal that stdout is; None: it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def column_blocks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Divide columns into as few blocks of about equal length as fit, column 0 in each.

    Args:
        widths: of the columns, in characters.
        room: of the terminal, in characters.

    Returns:
        the numbers of each block's columns; one that does not fit with column 0 is alone with it.
    """
    others = list(range(1, len(widths)))
    for count in range(1, len(others) + 1):
        size = -(-len(others) // count)
        blocks = [[0, *others[at : at + size]] for at in range(0, len(others), size)]
        need = max(sum(widths[k] + _FRAME for k in block) + 1 for block in blocks)
        if need <= room:
            return blocks
    return [[0, k] for k in others] or [[0]]


def _widths(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    rows = [list(columns), *cells]
    return [max(cell_len(line) for row in rows for line in row[k].split("\n"))
            for k in range(len(columns))]  # fmt: skip


def _table(
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    block: Sequence[int],
    texts: Collection[int],
) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for k in block:
        table.add_column(columns[k], justify="left" if k in texts else "right", overflow="fold")
    for row in cells:
        # Not as markup: a name or a hint may hold [brackets].
        table.add_row(*(Text(row[k]) for k in block))
    return table
