"""Annotations on disk, one format a module; here they are recognised, read and written.

Each module collects what it reads into ``Collected``, which ``assemble`` checks and turns into
``Annotations``, and writes them. Its head says what it understands.
"""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import cast

from sodkit.data.formats.assemble import Collected, assemble
from sodkit.data.formats.folders import find_images
from sodkit.data.formats.reading import AS_STATED, Reading
from sodkit.data.formats.recognise import (
    PATCHES,
    Subset,
    find_subsets,
    is_annotations,
    recognise,
)
from sodkit.data.formats.source import Report, stop
from sodkit.data.records import Annotations
from sodkit.errors import DataError, UsageError

__all__ = [
    "FORMATS",
    "PATCHES",
    "WRITTEN",
    "Reading",
    "Subset",
    "collect_annotations",
    "find_images",
    "find_subsets",
    "is_annotations",
    "read_annotations",
    "recognise",
]

WRITTEN = ("coco", "soda-a", "dota", "yolo", "voc")
"""Names of the formats that can be written, too."""

FORMATS = (*WRITTEN, "visdrone", "kitti", "bdd100k", "xview")
"""Names of the formats that can be read; ``yolo`` is YOLO-OBB, ``voc`` FAIR1M, DIOR-R, MAR20 and
HRSC2016, too."""


def read_annotations(
    path: Path,
    *,
    format: str | None = None,
    images: Path | None = None,
    report: Report = stop,
    reading: Reading = AS_STATED,
) -> Annotations:
    """Read a file or folder of annotations.

    Args:
        path: a COCO JSON file, a folder written by ``sodkit split``, a SODA-A, DOTA, YOLO or Pascal
            VOC folder, a YOLO YAML, or one of their label files.
        format: one of ``FORMATS``, None: recognised.
        images: where file names start; needed only where the source does not state image sizes and
            the images are in none of the usual places.
        report: called with everything wrong that reading can go on without; the default raises it.
        reading: what the user decides where the source can mean two things.

    Raises:
        DataError: if it is missing, of no known format or wrong, with the place.
        UsageError: if ``format`` is unknown.
    """
    found = collect_annotations(path, format=format, images=images, report=report, reading=reading)
    return assemble(found, report, reading)


def collect_annotations(
    path: Path,
    *,
    format: str | None = None,
    images: Path | None = None,
    report: Report = stop,
    reading: Reading = AS_STATED,
) -> Collected:
    """Read a file or folder of annotations as it stands, without the rules of all formats.

    Arguments and errors are those of ``read_annotations``.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(
            f"unknown format {format!r}", where="--format", hint="known: " + ", ".join(FORMATS)
        )
    if not os.path.exists(path):  # also of a name that no system takes, unlike Path.exists
        raise DataError("no such file or folder", where=path)
    name = format or recognise(path)
    if name == "coco" and path.is_dir():
        path = path / PATCHES
    # Imported when used: what the other formats lean on takes longer than reading a small file.
    reader = import_module(f"sodkit.data.formats.{name.replace('-', '_')}")
    options = {"reading": reading} if name == "coco" else {}
    return cast(Collected, reader.collect(path, images=images, report=report, **options))
