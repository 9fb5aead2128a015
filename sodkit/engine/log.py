"""What a run leaves to read: ``losses.csv`` (every step) and ``metrics.csv`` (every epoch).

With the extra ``tensorboard`` installed the same numbers go to its event files.
"""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path
from typing import Any, Self

from sodkit.csv_text import Cell, csv_text
from sodkit.files import write_text

Row = dict[str, float | int | None]


class RunLog:
    """Appends rows to the CSV files of a run; a context manager that ends TensorBoard's thread.

    Args:
        folder: the run's folder.
        resume_epoch: rows of this epoch and later are dropped: they will be written again.
    """

    def __init__(self, folder: Path, *, resume_epoch: int = 0) -> None:
        self._folder = folder
        self._board = _tensorboard(folder)
        for name in ("losses.csv", "metrics.csv"):
            _cut(folder / name, resume_epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._board is not None:
            self._board.close()

    def step(self, row: Row) -> None:
        """Log one training step; the first key is ``epoch``, ``step`` counts over epochs."""
        _append(self._folder / "losses.csv", row)
        self._to_board(row)

    def epoch(self, row: Row) -> None:
        """Log one epoch."""
        _append(self._folder / "metrics.csv", row)
        self._to_board(row)

    def _to_board(self, row: Row) -> None:
        if self._board is None:
            return
        for key, value in row.items():
            if key not in {"epoch", "step"} and value is not None:
                self._board.add_scalar(key, value, row["step"])


def _append(path: Path, row: Row) -> None:
    """Append one row; the first one writes the header."""
    new = not path.exists() or path.stat().st_size == 0
    rows: list[list[Cell]] = [[*row], [*row.values()]] if new else [[*row.values()]]
    with path.open("a", newline="", encoding="utf-8") as file:
        file.write(csv_text(rows))


def _cut(path: Path, epoch: int) -> None:
    """Keep only the whole rows of epochs up to ``epoch``; without any there is no file.

    A run that was killed may leave half a row, or NUL bytes, at the end.
    """
    if not path.exists():
        return
    text = path.read_bytes().decode("utf-8", errors="replace")
    whole = text[: text.rfind("\n") + 1].replace("\0", "")
    reader = csv.DictReader(io.StringIO(whole, newline=""))
    fields = list(reader.fieldnames or ())
    rows = [row for row in reader if _is_of(row, epoch)]
    if not rows:
        path.unlink()
        return
    cells = [[row[field] for field in fields] for row in rows]
    write_text(path, csv_text([fields, *cells]))


def _is_of(row: dict[str | Any, str | Any], epoch: int) -> bool:
    """Tell whether a row has all its fields and is of an epoch up to ``epoch``."""
    number = row.get("epoch") or ""
    if None in row or None in row.values() or not number.isdigit():
        return False
    return int(number) <= epoch


def _tensorboard(folder: Path) -> Any | None:
    """Return a writer of TensorBoard events, None if the package is absent."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))
