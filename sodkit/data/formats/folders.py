"""Where the images of a source are, if nobody says so."""

from __future__ import annotations

from pathlib import Path

from sodkit.data.records import Annotations

_LOWER = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
IMAGE_SUFFIXES = (*_LOWER, *(suffix.upper() for suffix in _LOWER))
"""Suffixes of image files, likeliest first."""


def image_folders(path: Path) -> list[Path]:
    """Return the folders that may hold the images of an annotation file or folder, in order.

    Beside it, in ``images`` or ``Images`` beside it, or in a folder of that name beside the one
    that holds it, also by subset: ``Annotations/train`` goes with ``Images/train``.
    """
    path = path.absolute()
    folder = path if path.is_dir() else path.parent
    names = ("images", "Images")
    beside = [folder, *(folder / name for name in names), folder.parent]
    subset = path.stem if path.is_file() else path.name
    above = [folder.parent / name for name in names]
    by_subset = [folder.parent / name / subset for name in names]
    if path.is_dir():
        by_subset += [folder.parent.parent / name / subset for name in names]
    return [*beside, *above, *by_subset]


def find_images(path: Path, annotations: Annotations) -> Path:
    """Return the folder in which the images of ``annotations``, read from ``path``, are.

    It is the first of ``image_folders`` with the first image in it; the one beside ``path`` if none
    has it (then reading an image says what is missing).
    """
    folders = image_folders(path)
    if not annotations.images:
        return folders[0]
    name = annotations.images[0].file_name
    return next((folder for folder in folders if (folder / name).is_file()), folders[0])
