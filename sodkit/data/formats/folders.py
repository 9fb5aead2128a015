"""Where the images of a source are, if it is not said, and what they are called and numbered."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from sodkit.data.records import Annotations

_LOWER = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
IMAGE_SUFFIXES = (*_LOWER, *(suffix.upper() for suffix in _LOWER))
"""Suffixes of image files, likeliest first."""

IMAGE_FOLDERS = (
    "images", "Images", "JPEGImages", "AllImages", "image_2", "train_images", "JPEGImages-trainval",
    "JPEGImages-test",
)  # fmt: skip
"""Names of folders of images: the usual ones, then HRSC2016's, KITTI's, xView's and DIOR's."""

DEEPER = ("Oriented Bounding Boxes", "Horizontal Bounding Boxes")
"""Folders of labels one level deeper than usual: DIOR-R's and MAR20's below ``Annotations``."""

LONGEST_NAME = 255
"""Bytes that file systems take for a name."""


def is_file(path: Path) -> bool:
    """Return whether there is such a file; there is none by a name that no system takes."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Return whether there is such a folder; there is none by a name that no system takes."""
    try:
        return path.is_dir()
    except OSError:
        return False


def fitting(stem: str, room: int) -> str:
    """Return the stem of a file to be written: its last part at most ``LONGEST_NAME - room`` bytes.

    One that is longer is cut, and ends in a digest of the whole, so that different ones stay so.

    Args:
        stem: relative, with forward slashes.
        room: bytes of what follows it in the file's name.
    """
    folder, slash, last = stem.rpartition("/")
    most = LONGEST_NAME - room
    if len(os.fsencode(last)) <= most:
        return stem
    digest = hashlib.blake2b(stem.encode(errors="surrogatepass"), digest_size=8).hexdigest()
    kept = os.fsencode(last)[: most - len(digest) - 1].decode(errors="ignore")
    return f"{folder}{slash}{kept}-{digest}"


def image_folders(path: Path) -> list[Path]:
    """Return the folders that may hold the images of an annotation file or folder, in order.

    Beside it, in one of ``IMAGE_FOLDERS`` beside it, or in a folder of that name
    beside the one that holds it, also by subset: ``Annotations/train`` goes with ``Images/train``.
    """
    path = path.absolute()
    folder = path if path.is_dir() else path.parent
    names = IMAGE_FOLDERS
    beside = [folder, *(folder / name for name in names), folder.parent]
    subset = path.stem if path.is_file() else path.name
    above = [folder.parent / name for name in names]
    if subset in DEEPER:
        above += [folder.parent.parent / name for name in names]
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
    return next((folder for folder in folders if is_file(folder / name)), folders[0])


def images_below(folder: Path) -> dict[str, str]:
    """Return the images in a folder and its subfolders: names by stem, both relative to it.

    Links to folders are not followed, so that a loop of them cannot trap. Of two images of one stem
    the first by name counts.
    """
    found: dict[str, str] = {}
    for root, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if file.endswith(IMAGE_SUFFIXES):
                name = (Path(root) / file).relative_to(folder).as_posix()
                found.setdefault(stem_of(name), name)
    return found


def stem_of(name: str) -> str:
    """Return a relative file name without its suffix, folders kept."""
    return str(PurePosixPath(name).with_suffix(""))


def numbers(stems: Sequence[str]) -> dict[str, int]:
    """Return ids for the stems of files: their numbers if all are different numbers.

    Otherwise they count from 1 in the given order.
    """
    numeric = all(stem.isascii() and stem.isdigit() and len(stem) < 18 for stem in stems)
    if numeric and len({int(stem) for stem in stems}) == len(stems):
        return {stem: int(stem) for stem in stems}
    return {stem: index for index, stem in enumerate(stems, start=1)}
