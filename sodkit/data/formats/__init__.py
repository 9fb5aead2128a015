"""Annotations on disk, one format a module; here they are recognised, read and written.

Each module collects what it reads into ``Collected``, which ``assemble`` checks and turns into
``Annotations``, and writes them. Its head says what it understands.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import cast

from sodkit.data.formats import folders
from sodkit.data.formats.assemble import Collected, assemble
from sodkit.data.formats.foreign import refuse_json
from sodkit.data.formats.reading import AS_STATED, Reading
from sodkit.data.formats.recognise import (
    PATCHES,
    coco_file,
    is_annotations,
    locate,
    only_source,
    recognise,
)
from sodkit.data.formats.resolve import resolve_names
from sodkit.data.formats.source import Report, stop
from sodkit.data.formats.subsets import (
    Subset,
    choose_subset,
    find_subsets,
    join_classes,
    note_empty,
    pick,
    with_classes,
)
from sodkit.data.records import Annotations, Category
from sodkit.errors import DataError, UsageError
from sodkit.files import StrPath

__all__ = [
    "FORMATS",
    "PATCHES",
    "WRITTEN",
    "Reading",
    "Subset",
    "choose_subset",
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

_NAMING = ("coco", "soda-a", "voc", "bdd100k")
"""Formats that state names of images; the others find their images as they are read."""


def read_annotations(
    path: StrPath,
    *,
    format: str | None = None,
    images: StrPath | None = None,
    report: Report = stop,
    reading: Reading = AS_STATED,
    subset: str | None = None,
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
        subset: of a root folder or YAML; None: it holds only one.

    Raises:
        DataError: if it is missing, of no known format or wrong, with the place.
        UsageError: if ``format`` is unknown, or there is no such subset.
    """
    path = Path(path)
    images = None if images is None else Path(images)
    found = collect_annotations(
        path, format=format, images=images, report=report, reading=reading, subset=subset
    )
    return assemble(found, report, reading)


def collect_annotations(
    path: StrPath,
    *,
    format: str | None = None,
    images: StrPath | None = None,
    report: Report = stop,
    reading: Reading = AS_STATED,
    subset: str | None = None,
) -> Collected:
    """Read a file or folder of annotations as it stands, without the rules of all formats.

    Arguments and errors are those of ``read_annotations``.
    """
    path = Path(path)
    images = None if images is None else Path(images)
    if format is not None and format not in FORMATS:
        raise UsageError(
            f"unknown format {format!r}", where="--format", hint="known: " + ", ".join(FORMATS)
        )
    if not os.path.exists(path):  # also of a name that no system takes, unlike Path.exists
        raise DataError("no such file or folder", where=path)
    if subset is None:
        return _collect(Subset("", path), format, images, report, reading)
    found = find_subsets(path)
    chosen = pick(found, subset, path)
    note_empty(found, report)
    own = _collect(chosen, format, images, report, reading)
    if chosen.is_yaml:  # it has one list of classes
        return own
    lists = [
        own.categories if item == chosen else _classes_of(item, format, images, reading)
        for item in found
    ]
    return with_classes(own, join_classes(lists))


def _collect(
    source: Subset, format: str | None, images: Path | None, report: Report, reading: Reading
) -> Collected:
    """Read a source, or one subset of it."""
    if format is None:
        name, path = locate(source.path)
    else:
        name, path = format, only_source(source.path) if source.key is None else source.path
        path = coco_file(path) if name == "coco" and path.is_dir() else path
    # Imported when used: what the other formats lean on takes longer than reading a small file.
    reader = import_module(f"sodkit.data.formats.{name.replace('-', '_')}")
    own = {} if source.key is None else {"subset": source.key}
    options = {"reading": reading} if name == "coco" else {}
    try:
        found = cast(
            Collected, reader.collect(path, images=images, report=report, **own, **options)
        )
    except DataError:
        refuse_json(path)
        raise
    if name not in _NAMING:
        return found
    root = source.path if path != source.path and folders.is_folder(source.path) else None
    return resolve_names(found, path, images, report, root)


def _classes_of(
    subset: Subset, format: str | None, images: Path | None, reading: Reading
) -> Sequence[Category]:
    """Return the classes of another subset; none if it cannot be read."""
    try:
        return _collect(subset, format, images, lambda error, kind: None, reading).categories
    except DataError:
        return ()


def find_images(path: StrPath, annotations: Annotations, *, subset: str | None = None) -> Path:
    """Return the folder in which the images of ``annotations``, read from ``path``, are.

    Args:
        path: as it was read.
        annotations: what was read from it.
        subset: as it was read.
    """
    path = Path(path)
    if subset is not None:
        path = pick(find_subsets(path), subset, path).path
    root = path if folders.is_folder(path) else None
    with suppress(DataError):
        path = locate(path)[1]
    from sodkit.data.formats import yolo_yaml

    yaml = path if path.suffix.lower() in yolo_yaml.YAML_SUFFIXES else yolo_yaml.find_yaml(path)
    if yaml is not None:
        root = yolo_yaml.read_yaml(yaml).root
        if any(folders.is_file(root / image.file_name) for image in annotations.images[:20]):
            return root
    return folders.find_images(path, annotations, root)
