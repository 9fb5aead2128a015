"""VisDrone's text of its detection task: a file an image, an object a line.

``left,top,width,height,score,category,truncation,occlusion``, perhaps with a comma at the end.
Category 0 (ignored regions) and 11 (others) are ignore regions, as in the toolkit of the challenge
(VisDrone2018-DET-toolkit, README); a score of 0 means that an object does not count. Boxes without
size, of which the release has a few, are left out with a note.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.labels import Row, collect_labels
from sodkit.data.formats.line_text import finite, reader_of_lines
from sodkit.data.formats.source import Report, quoted, stop

LABELS = "annotations"

NAMES = (
    "ignored regions", "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle",
    "awning-tricycle", "bus", "motor", "others ignored",
)  # fmt: skip
"""Names by category; the first and the last are no classes."""

CLASSES = NAMES[1:-1]


def collect(path: Path, *, images: Path | None = None, report: Report = stop) -> Collected:
    """Read a folder of VisDrone text, the folder with ``annotations``, or one file.

    Args:
        path: the folder or file.
        images: the folder of the images (None: looked for beside ``path``).
        report: called with every line that is wrong, and every file without image.

    Raises:
        DataError: anything missing or wrong, with the file and line.
    """
    if (path / LABELS).is_dir():
        path = path / LABELS
    read = reader_of_lines(_row)
    found = collect_labels(path, ".txt", read, (CLASSES,), images, report, sure=True)
    return replace(found, release="VisDrone")


def _row(text: str, line: int) -> Row:
    """Read a line.

    Raises:
        ValueError: if it is none of VisDrone's, saying why.
    """
    tokens = text.strip().rstrip(",").split(",")
    if len(tokens) != 8:
        raise ValueError(
            f"the line has {len(tokens)} values, VisDrone has 8: left, top, width, height, score, "
            "category, truncation, occlusion"
        )
    values = finite(tokens)
    x, y, w, h, score, category = values[:6]
    if category not in range(len(NAMES)):
        raise ValueError(f"the category is 0 to {len(NAMES) - 1}, not {quoted(tokens[5])}")
    return Row(line, NAMES[int(category)], xywh=(x, y, w, h), ignore=score == 0)


def is_label_line(text: str) -> bool:
    """Return whether a line is of VisDrone: 8 numbers between commas, the sixth a category."""
    try:
        _row(text, 1)
    except ValueError:
        return False
    return True
