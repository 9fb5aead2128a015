"""Label files of an object a line that state no image sizes: VisDrone, KITTI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sodkit.data.formats.labels import ImageOf, Reader, Row
from sodkit.data.formats.source import Report, number, quoted, read_lines
from sodkit.errors import DataError


def reader_of_lines(row: Callable[[str, int], Row]) -> Reader:
    """Return the reader of a format whose files have an object a line and no image sizes.

    Args:
        row: reads a line of a number; ValueError: it is none of the format, saying why.
    """

    def read(path: Path, report: Report) -> tuple[list[Row], ImageOf]:
        rows = []
        for line, text in enumerate(read_lines(path), start=1):
            if not text.strip():
                continue
            try:
                rows.append(row(text, line))
            except ValueError as error:
                report(DataError(str(error), where=f"{path}:{line}"), "form")
        return rows, lambda finder, stem, number: finder.record(stem, number, path)

    return read


def finite(tokens: Sequence[str], start: int = 1) -> list[float]:
    """Return the values of a line, numbered from ``start`` in messages.

    Raises:
        ValueError: if one is no finite number.
    """
    values = []
    for position, token in enumerate(tokens, start):
        try:
            values.append(number(token))
        except ValueError:
            raise ValueError(f"value {position} is not a finite number: {quoted(token)}") from None
    return values
