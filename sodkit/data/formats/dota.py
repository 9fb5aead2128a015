"""DOTA's text: a file an image in a folder, an oriented object a line.

``x1 y1 x2 y2 x3 y3 x4 y4 class difficult``: corners in px, the class by name, and 1 if the object
is difficult (it may be missing: 0): neither right nor wrong to detect in DOTA 1.0, an object like
others in 1.5 and 2.0, which have the class ``container-crane``. Lines ``imagesource:`` and
``gsd:`` head the files of the DOTA release. The class ``ignore`` holds ignore regions. A class name
may have spaces if it does not begin with a number.

The text does not state an image's name and size: they are those of the image with the same stem.

Classes without a ``classes.txt``: those of DOTA 1.0, 1.5 or 2.0 if these hold all names that occur,
otherwise the names that occur, sorted.

Written: numbers as short as they read back the same, ``labelTxt/`` and ``classes.txt``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sodkit.arrays import FloatArray
from sodkit.data.formats.assemble import IGNORE_NAME, Collected, box_corners
from sodkit.data.formats.class_lists import CLASSES_FILE
from sodkit.data.formats.folders import stem_of
from sodkit.data.formats.labels import (
    ImageFinder,
    Row,
    collect_labels,
)
from sodkit.data.formats.source import Report, number, quoted, read_lines, stop
from sodkit.data.records import REGION, Annotations, ImageRecord
from sodkit.errors import DataError, UsageError
from sodkit.files import write_text
from sodkit.geometry.rotated import obb_to_corners

LABELS = "labelTxt"
HEADERS = ("imagesource:", "gsd:")
_LATER = "container-crane"
"""A class that DOTA has from version 1.5 on."""

_V1 = (
    "plane", "ship", "storage-tank", "baseball-diamond", "tennis-court", "basketball-court",
    "ground-track-field", "harbor", "bridge", "large-vehicle", "small-vehicle", "helicopter",
    "roundabout", "soccer-ball-field", "swimming-pool",
)  # fmt: skip
CLASSES = (_V1, (*_V1, "container-crane"), (*_V1, "container-crane", "airport", "helipad"))
"""The classes of DOTA 1.0, 1.5 and 2.0, in the order of their development kit."""


def collect(path: Path, *, images: Path | None = None, report: Report = stop) -> Collected:
    """Read a folder of DOTA text, the folder with ``labelTxt``, or one file.

    Args:
        path: the folder or file.
        images: the folder of the images (None: looked for beside ``path``).
        report: called with every line that is wrong, and every file without image.

    Raises:
        DataError: anything missing or wrong, with the file and line.
    """
    if (path / LABELS).is_dir():
        path = path / LABELS
    found = collect_labels(path, ".txt", _read, CLASSES, images, report, sure=True)
    later = any(item.name == _LATER for item in found.categories)
    return replace(found, difficult="keep" if later else "ignore")


def _read(
    path: Path, report: Report
) -> tuple[list[Row], Callable[[ImageFinder, str, int], ImageRecord]]:
    def image(finder: ImageFinder, stem: str, number: int) -> ImageRecord:
        return finder.record(stem, number, path)

    return _rows(path, report), image


def _rows(path: Path, report: Report) -> list[Row]:
    rows = []
    for line, text in enumerate(read_lines(path), start=1):
        if not text.strip() or text.lstrip().startswith(HEADERS):
            continue
        try:
            rows.append(_row(text, line))
        except ValueError as error:
            report(DataError(str(error), where=f"{path}:{line}"), "form")
    return rows


def _row(text: str, line: int) -> Row:
    """Read a line.

    Raises:
        ValueError: if it is none of DOTA's, saying why.
    """
    tokens = text.split()
    if len(tokens) < 9:
        raise ValueError(
            f"the line has {len(tokens)} values, DOTA has 8 coordinates, a class and a difficulty"
        )
    corners = []
    for position, token in enumerate(tokens[:8], start=1):
        try:
            corners.append(number(token))
        except ValueError:
            raise ValueError(
                f"coordinate {position} is not a finite number: {quoted(token)}"
            ) from None
    rest = tokens[8:]
    if len(rest) == 1:
        return Row(line, rest[0], tuple(corners))
    if not rest[-1].isascii() or not rest[-1].isdigit():
        raise ValueError(f"the difficulty is 0 or 1, not {quoted(rest[-1])}")
    name = " ".join(rest[:-1])
    if _starts_with_number(name):
        raise ValueError(
            f"the line has {len(tokens)} values: {quoted(rest[0])} is in place of a class"
        )
    return Row(line, name, tuple(corners), difficult=rest[-1] != "0")


def _starts_with_number(name: str) -> bool:
    try:
        float(name.split()[0])
    except ValueError:
        return False
    return True


def write(folder: Path, annotations: Annotations) -> None:
    """Write ``folder/labelTxt/*.txt`` and ``folder/classes.txt``.

    Upright boxes become their corners; a polygon of other than four corners the rectangle around
    it.

    Raises:
        UsageError: if a class name cannot stand in such a line.
    """
    names = [item.name for item in annotations.categories]
    for name in names:
        if not name or " ".join(name.split()) != name or _starts_with_number(name):
            raise UsageError(f"the class name {name!r} cannot stand in DOTA's text")
    corners, labels = four_corners(annotations), annotations.labels.tolist()
    flags = annotations.ignore.tolist()
    for image, rows in zip(annotations.images, annotations.rows_by_image(), strict=True):
        lines = [
            " ".join(
                [*map(short, corners[row].ravel().tolist()),
                 IGNORE_NAME if labels[row] == REGION else names[labels[row]],
                 str(int(flags[row]))]
            )
            for row in rows.tolist()
        ]  # fmt: skip
        target = folder / LABELS / f"{stem_of(image.file_name)}.txt"
        write_text(target, "".join(f"{line}\n" for line in lines))
    write_text(folder / CLASSES_FILE, "".join(f"{name}\n" for name in names))


def four_corners(annotations: Annotations) -> FloatArray:
    """Return (N, 4, 2) corners: as annotated if there are four, else of the rectangle around."""
    if annotations.obb is None or annotations.polygons is None:
        return box_corners(annotations.xywh)
    corners = obb_to_corners(annotations.obb)
    for row in range(len(annotations)):
        own = annotations.polygons[row]
        if len(own) == 4:
            corners[row] = own
    return corners


def short(value: float) -> str:
    """Return a number as text that reads back the same, whole ones without a point."""
    return repr(value).removesuffix(".0")


def is_label_line(text: str) -> bool:
    """Return whether a line is of DOTA: 8 numbers and a class that is none."""
    try:
        row = _row(text, 1)
    except ValueError:
        return False
    return not _starts_with_number(row.name)
