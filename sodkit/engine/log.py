"""What a run leaves to read: ``losses.csv`` (every step) and ``metrics.csv`` (every epoch).

With the extra ``tensorboard`` installed the same numbers go to its event files.
"""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

Row = dict[str, float | int | None]


class RunLog:
    """Appends rows to the CSV files of a run.

    Args:
        folder: the run's folder.
        resume_epoch: rows of this epoch and later are dropped: they will be written again.
    """

    def __init__(self, folder: Path, *, resume_epoch: int = 0) -> None:
        self._folder = folder
        self._board = _tensorboard(folder)
        for name in ("losses.csv", "metrics.csv"):
            _cut(folder / name, resume_epoch)

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
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _cut(path: Path, epoch: int) -> None:
    """Keep only the rows of epochs before ``epoch``."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = [row for row in reader if int(row["epoch"]) <= epoch]
        fields = list(reader.fieldnames or ())
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=fields)
        writer.writeheader()
        writer.writerows(rows)


def _tensorboard(folder: Path) -> Any | None:
    """Return a writer of TensorBoard events, None if the package is absent."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))
