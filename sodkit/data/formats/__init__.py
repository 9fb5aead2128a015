"""Annotations on disk, one format a module; here they are told apart.

Each module reads into ``Annotations`` and says in its head what it understands.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sodkit.data.formats import coco, soda_a
from sodkit.data.formats.folders import find_images
from sodkit.data.records import Annotations
from sodkit.errors import DataError, UsageError

__all__ = ["FORMATS", "find_images", "is_annotations", "read_annotations", "recognise"]

PATCHES = "annotations.json"
"""The annotation file in a folder written by ``sodkit split``."""

_READERS: dict[str, Callable[..., Annotations]] = {"coco": coco.read, "soda-a": soda_a.read}

FORMATS = tuple(_READERS)
"""Names of the formats that can be read."""


def read_annotations(
    path: Path, *, format: str | None = None, images: Path | None = None
) -> Annotations:
    """Read a file or folder of annotations.

    Args:
        path: a COCO JSON file, a folder written by ``sodkit split``, or a SODA-A folder.
        format: one of ``FORMATS``, None: recognised.
        images: where file names start; needed only where the source does not state image sizes.

    Raises:
        DataError: if it is missing, of no known format or wrong, with the place.
        UsageError: if ``format`` is unknown.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(
            f"unknown format {format!r}", where="--format", hint="known: " + ", ".join(FORMATS)
        )
    if not path.exists():
        raise DataError("no such file or folder", where=path)
    name = format or recognise(path)
    if name == "coco" and path.is_dir():
        path = path / PATCHES
    return _READERS[name](path, images=images)


def recognise(path: Path) -> str:
    """Return the format of an existing file or folder of annotations.

    Raises:
        DataError: if it is none that is known.
    """
    if path.is_file() and path.suffix.lower() == ".json":
        return "coco"
    if path.is_dir():
        if (path / PATCHES).is_file():
            return "coco"
        if any(path.glob("*.json")):
            return "soda-a"
    raise DataError(
        "no annotations of a known format",
        where=path,
        hint="known: a COCO JSON file, a folder of patches, a SODA-A folder with one JSON an image",
    )


def is_annotations(path: Path) -> bool:
    """Tell whether ``path`` looks like annotations of a known format."""
    try:
        recognise(path)
    except DataError:
        return False
    return True
