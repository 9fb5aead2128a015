"""Oriented detections as DOTA's evaluation server takes them: a zip with a text file a class.

``Task1_CLASS.txt`` has a detection a line: ``image score x1 y1 x2 y2 x3 y3 x4 y4``, the image by
its name without ending, the corners clockwise in px of the whole image.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from sodkit.data.records import Category, Detections, ImageRecord
from sodkit.errors import UsageError
from sodkit.files import atomic_path
from sodkit.geometry.rotated import obb_to_corners
from sodkit.names import name_fault

_DATE = (1980, 1, 1, 0, 0, 0)
"""The same detections make the same bytes, whenever they are written."""


def write_task1(
    path: Path,
    parts: Iterable[Detections],
    categories: Sequence[Category],
    images: Sequence[ImageRecord],
) -> None:
    """Write the zip, all or nothing; classes without detections have an empty file.

    Args:
        path: the file; replaced if it exists.
        parts: oriented detections of whole images; they are gone through once a class.
        categories: the classes in label order.
        images: the images by whose ids the detections go.

    Raises:
        UsageError: upright boxes, two images of one name, or a class name that no file can have.
    """
    names = check_task1(path, next(iter(parts)).kind == "oriented", categories, images)
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for label, category in enumerate(categories):
            lines = (line for part in parts for line in _lines(part, label, names))
            entry = zipfile.ZipInfo(_entry(category), _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, "".join(lines))


def _lines(part: Detections, label: int, names: Mapping[int, str]) -> Iterator[str]:
    """Yield the lines of a part's detections of a class."""
    assert part.obb is not None
    rows = np.flatnonzero(part.labels == label)
    corners = obb_to_corners(part.obb[rows]).reshape(-1, 8)
    for image, score, points in zip(
        part.image_ids[rows].tolist(), part.scores[rows].tolist(), corners.tolist(), strict=True
    ):
        yield f"{names[image]} {score:.6g} {' '.join(f'{value:.2f}' for value in points)}\n"


def _entry(category: Category) -> str:
    return f"Task1_{category.name}.txt"


def check_task1(
    path: Path, oriented: bool, categories: Sequence[Category], images: Sequence[ImageRecord]
) -> dict[int, str]:
    """Return the images' names by id, or raise what ``write_task1`` would: before predicting."""
    if not oriented:
        raise UsageError(
            "DOTA's Task 1 wants oriented boxes, these are horizontal",
            where=path,
            hint="give a name that ends in .json or .npz",
        )
    for category in categories:
        fault = "it has a slash" if "/" in category.name else name_fault(_entry(category))
        if fault is not None:
            what = f"the class '{category.name}' cannot be a file name: {fault}"
            raise UsageError(what, where=path)
    names = {image.id: PurePosixPath(image.file_name).stem for image in images}
    name, count = Counter(names.values()).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise UsageError(f"{count} images are named '{name}': DOTA knows images by name")
    if any(" " in name for name in names.values()):
        bad = next(name for name in names.values() if " " in name)
        raise UsageError(f"the image name '{bad}' has a space: DOTA's lines are split at them")
    return names
