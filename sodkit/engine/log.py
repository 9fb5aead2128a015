"""What a run leaves to read: ``losses.csv`` (every step) and ``metrics.csv`` (every epoch).

Both follow from recipe and data alone; how long an epoch took is in ``times.csv``. With the extra
``tensorboard`` installed the same numbers go to its event files, and to other sinks if asked for.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from sodkit.csv_text import Cell, csv_text
from sodkit.engine.sinks import Sink, TensorboardSink, has_tensorboard
from sodkit.files import full_disk_named, write_text

Row = dict[str, float | int | None]

SECONDS = "seconds"


class RunLog:
    """Appends rows to the CSV files of a run; a context manager that ends TensorBoard's thread.

    Args:
        folder: the run's folder.
        steps: of ``losses.csv`` the rows up to this step are kept: later ones come again.
        epochs: of the other files the rows up to this epoch likewise.
        sinks: get the same numbers; whoever opened them closes them.
    """

    def __init__(
        self, folder: Path, *, steps: int = 0, epochs: int = 0, sinks: Sequence[Sink] = ()
    ) -> None:
        self._board = TensorboardSink(folder, steps) if has_tensorboard() else None
        self._sinks = [*sinks] if self._board is None else [self._board, *sinks]
        self._losses = _Table(folder / "losses.csv", "step", steps)
        self._metrics = _Table(folder / "metrics.csv", "epoch", epochs)
        self._times = _Table(folder / "times.csv", "epoch", epochs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()

    def step(self, row: Row) -> None:
        """Log one training step; the first key is ``epoch``, ``step`` counts over epochs."""
        self._losses.append(row)
        self._to_sinks(row)

    def epoch(self, row: Row) -> None:
        """Log one epoch; ``seconds`` goes to a file of its own: it differs from run to run."""
        self._metrics.append({key: value for key, value in row.items() if key != SECONDS})
        if SECONDS in row:
            self._times.append({key: row.get(key) for key in ("epoch", "step", SECONDS)})
        self._to_sinks(row)

    def _to_sinks(self, row: Row) -> None:
        counts = ("epoch", "step")
        values = {k: float(v) for k, v in row.items() if k not in counts and v is not None}
        for sink in self._sinks:
            sink.numbers(values, int(row["step"] or 0))


class _Table:
    """A CSV file that grows row by row; a row with a new key gives all of it one more column.

    Args:
        path: the file; without rows there is none.
        key: the column that counts the rows, from 1 on.
        until: of an existing file the whole rows up to this count are kept.
    """

    def __init__(self, path: Path, key: str, until: int) -> None:
        self._path, self._key = path, key
        self._fields: list[str] = []
        if path.is_file():  # not a device, which could be read for ever
            self._write(*_whole_rows(path, key, until))

    def append(self, row: Row) -> None:
        """Append one row; the first one writes the header."""
        new = [key for key in row if key not in self._fields]
        if self._fields and new:
            fields, rows = _whole_rows(self._path, self._key, None)
            self._write([*fields, *new], rows)
        with (
            full_disk_named(self._path),
            self._path.open("a", newline="", encoding="utf-8") as file,
        ):
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


def _whole_rows(path: Path, key: str, until: int | None) -> tuple[list[str], list[dict[str, str]]]:
    """Return the header and the whole rows with a ``key`` up to ``until`` (None: all of them).

    A run that was killed may leave half a row, or NUL bytes, at the end.
    """
    text = path.read_bytes().decode("utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1].replace("\0", "")
    reader = csv.DictReader(io.StringIO(whole, newline=""))
    fields: list[str] = []
    rows: list[dict[str, str]] = []
    with suppress(csv.Error):  # a line that is no CSV is none of ours: header and rows end there
        fields += reader.fieldnames or ()
        rows += (row for row in reader if _is_whole(row, key, until))
    return fields, rows


def _is_whole(row: dict[str | Any, str | Any], key: str, until: int | None) -> bool:
    """Return whether a row has all its fields and a ``key`` up to ``until`` (None: any)."""
    number = row.get(key) or ""
    if None in row or None in row.values() or not re.fullmatch(r"[0-9]{1,18}", number):
        return False
    return until is None or int(number) <= until
