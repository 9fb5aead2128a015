"""What a run leaves to read: ``losses.csv`` (every step) and ``metrics.csv`` (every epoch).

With the extra ``tensorboard`` installed the same numbers go to its event files.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from sodkit.csv_text import Cell, csv_text
from sodkit.files import write_text

Row = dict[str, float | int | None]


class RunLog:
    """Appends rows to the CSV files of a run; a context manager that ends TensorBoard's thread.

    Args:
        folder: the run's folder.
        steps_until: rows of ``losses.csv`` of later epochs are dropped: they come again.
        epochs_until: rows of ``metrics.csv`` of later epochs likewise; None: as ``steps_until``.
    """

    def __init__(
        self, folder: Path, *, steps_until: int = 0, epochs_until: int | None = None
    ) -> None:
        self._board = _tensorboard(folder)
        self._losses = _Table(folder / "losses.csv", steps_until)
        self._metrics = _Table(
            folder / "metrics.csv", steps_until if epochs_until is None else epochs_until
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()

    def step(self, row: Row) -> None:
        """Log one training step; the first key is ``epoch``, ``step`` counts over epochs."""
        self._losses.append(row)
        self._to_board(row)

    def epoch(self, row: Row) -> None:
        """Log one epoch."""
        self._metrics.append(row)
        self._to_board(row)

    def _to_board(self, row: Row) -> None:
        if self._board is None:
            return
        for key, value in row.items():
            if key not in {"epoch", "step"} and value is not None:
                self._board.add_scalar(key, value, row["step"])


class _Table:
    """A CSV file that grows row by row; a row with a new key gives all of it one more column.

    Args:
        path: the file; without rows there is none.
        until: of an existing file the whole rows of epochs up to this one are kept.
    """

    def __init__(self, path: Path, until: int) -> None:
        self._path = path
        self._fields: list[str] = []
        if path.exists():
            self._write(*_whole_rows(path, until))

    def append(self, row: Row) -> None:
        """Append one row; the first one writes the header."""
        new = [key for key in row if key not in self._fields]
        if self._fields and new:
            fields, rows = _whole_rows(self._path, None)
            self._write([*fields, *new], rows)
        with self._path.open("a", newline="", encoding="utf-8") as file:
            lines: list[list[Cell]] = []
            if not self._fields:
                self._fields = list(row)
                lines.append([*row])
            file.write(csv_text([*lines, [row.get(field) for field in self._fields]]))

    def _write(self, fields: list[str], rows: list[dict[str, str]]) -> None:
        """Replace the file."""
        self._fields = fields if rows else []
        if not rows:
            self._path.unlink()
            return
        write_text(self._path, csv_text([fields, *([row.get(f) for f in fields] for row in rows)]))


def _whole_rows(path: Path, until: int | None) -> tuple[list[str], list[dict[str, str]]]:
    """Return the header and the whole rows, of epochs up to ``until`` (None: of all).

    A run that was killed may leave half a row, or NUL bytes, at the end.
    """
    text = path.read_bytes().decode("utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1].replace("\0", "")
    reader = csv.DictReader(io.StringIO(whole, newline=""))
    fields: list[str] = []
    rows: list[dict[str, str]] = []
    with suppress(csv.Error):  # a line that is no CSV is none of ours: header and rows end there
        fields += reader.fieldnames or ()
        rows += (row for row in reader if _is_of(row, until))
    return fields, rows


def _is_of(row: dict[str | Any, str | Any], until: int | None) -> bool:
    """Return whether a row has all its fields and is of an epoch up to ``until`` (None: of any)."""
    number = row.get("epoch") or ""
    if None in row or None in row.values() or not re.fullmatch(r"[0-9]{1,18}", number):
        return False
    return until is None or int(number) <= until


def _tensorboard(folder: Path) -> Any | None:
    """Return a writer of TensorBoard events, None if the package is absent."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))
