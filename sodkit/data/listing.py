"""Image files that a user names, as records: files and folders, without annotations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sodkit.data.formats.folders import IMAGE_SUFFIXES
from sodkit.data.images import image_size
from sodkit.data.records import ImageRecord
from sodkit.errors import DataError


def list_images(paths: Iterable[Path]) -> tuple[ImageRecord, ...]:
    """Return the images among ``paths`` with ids from 1 on, in the given order.

    Args:
        paths: image files, and folders of which every image is taken, sorted by name.

    Raises:
        DataError: a path that does not exist, is no image, or a folder without one.
    """
    files: list[Path] = []
    for path in paths:
        found = (
            sorted(p for p in path.iterdir() if p.suffix in IMAGE_SUFFIXES)
            if path.is_dir()
            else [path]
        )
        if not found:
            raise DataError("there are no images in this folder", where=path)
        files += found
    records = []
    for number, file in enumerate(files, start=1):
        if not file.is_file():
            raise DataError("image not found", where=file)
        width, height = image_size(file)
        records.append(ImageRecord(number, str(file), width, height))
    return tuple(records)
