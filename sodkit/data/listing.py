"""Image files that a user names, as records: files and folders, without annotations."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from sodkit.data.formats.folders import IMAGE_SUFFIXES, is_folder
from sodkit.data.images import image_size
from sodkit.data.records import ImageRecord
from sodkit.errors import DataError


def list_images(paths: Iterable[Path]) -> tuple[tuple[ImageRecord, ...], Path]:
    """Return the images among ``paths`` with ids from 1 on, in the given order.

    Args:
        paths: image files, and folders of which every image is taken, sorted by name.

    Returns:
        the images, and the folder where their ``file_name`` starts: the last one they share.

    Raises:
        DataError: a path that does not exist, is no image, or a folder without one.
    """
    files: list[Path] = []
    for path in paths:
        found = _images_in(path) if is_folder(path) else [path]
        if not found:
            raise DataError("there are no images in this folder", where=path)
        files += found
    folder = Path(os.path.commonpath([file.absolute().parent for file in files]))
    records = []
    for number, file in enumerate(files, start=1):
        width, height = image_size(file)
        name = file.absolute().relative_to(folder).as_posix()
        records.append(ImageRecord(number, name, width, height))
    return tuple(records), folder


def _images_in(folder: Path) -> list[Path]:
    """Return the image files right in ``folder``, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix in IMAGE_SUFFIXES)
