"""KITTI's text of its object task: a file an image, an object a line, values between blanks.

``type truncated occluded alpha left top right bottom``, then seven values in space and perhaps a
score, which are not read. ``DontCare`` is an ignore region (KITTI object development kit, readme).
Data sets of the same text with classes of their own are read, too.
"""

from __future__ import annotations

from pathlib import Path

from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.labels import Row, collect_labels
from sodkit.data.formats.line_text import finite, reader_of_lines
from sodkit.data.formats.source import Report, stop

LABELS = "label_2"

CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")

_COUNTS = (15, 16)
"""Values of a line, without and with a score."""


def collect(path: Path, *, images: Path | None = None, report: Report = stop) -> Collected:
    """Read a folder of KITTI text, the folder with ``label_2``, or one file.

    Args:
        path: the folder or file.
        images: the folder of the images (None: looked for beside ``path``).
        report: called with every line that is wrong, and every file without image.

    Raises:
        DataError: anything missing or wrong, with the file and line.
    """
    if (path / LABELS).is_dir():
        path = path / LABELS
    return collect_labels(
        path, ".txt", reader_of_lines(_row), (CLASSES,), images, report, sure=True
    )


def _row(text: str, line: int) -> Row:
    """Read a line.

    Raises:
        ValueError: if it is none of KITTI's, saying why.
    """
    name, *tokens = text.split()
    if len(tokens) + 1 not in _COUNTS:
        raise ValueError(f"the line has {len(tokens) + 1} values, KITTI has 15: type, 14 numbers")
    values = finite(tokens, start=2)
    left, top, right, bottom = values[3:7]
    return Row(line, name, xywh=(left, top, right - left, bottom - top))


def is_label_line(text: str) -> bool:
    """Return whether a line is of KITTI: a name that is no number, then 14 or 15 numbers."""
    try:
        row = _row(text, 1)
    except (ValueError, IndexError):
        return False
    try:
        float(row.name)
    except ValueError:
        return True
    return False
