"""Where the images of a source are, if it is not said, and what they are called and numbered."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from sodkit.data.formats.subset_names import subset_of
from sodkit.data.naming import LOWER_SUFFIXES
from sodkit.data.records import Annotations

IMAGE_FOLDERS = (
    "images", "JPEGImages", "AllImages", "image_2", "train_images", "JPEGImages-trainval",
    "JPEGImages-test", "data", "img", "imgs", "image",
)  # fmt: skip
"""Names of folders of images: the usual ones, then HRSC2016's, KITTI's, xView's, DIOR's and
FiftyOne's, and others seen."""

LABEL_FOLDERS = (
    "Annotations", "annfiles", "labelTxt", "labels", "obj_train_data", "labelXml", "labelXmls",
    "label_2",
)  # fmt: skip
"""Folders of annotations in a data set's folder, whatever their case."""

DEEPER = ("Oriented Bounding Boxes", "Horizontal Bounding Boxes")
"""Folders of labels one level deeper than usual: DIOR-R's and MAR20's below ``Annotations``."""

LONGEST_NAME = 255
"""Bytes that file systems take for a name."""

_PROBED = 20
"""So many images are looked up to find their folder."""


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


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is no data: its name begins with a dot (``._*``, too).

    ``__MACOSX`` is what macOS adds to archives.
    """
    return name.startswith(".") or name == "__MACOSX"


def files_below(folder: Path, suffixes: tuple[str, ...], *, below: bool = True) -> Iterator[Path]:
    """Yield the files of a folder with one of these suffixes, whatever their case, by name.

    Hidden files and folders are left out. Links to folders are not followed, so that a loop of them
    cannot trap.

    Args:
        folder: where to look.
        suffixes: in lower case.
        below: look into subfolders, too.
    """
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if below and not is_hidden(name))
        for name in sorted(files):
            if name.lower().endswith(suffixes) and not is_hidden(name):
                yield Path(root) / name


def entries(folder: Path) -> list[Path]:
    """Return what is right in a folder, by name, without hidden names; nothing if unreadable."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if not is_hidden(name)]
    except (OSError, ValueError):
        return []


def child(folder: Path, name: str) -> Path:
    """Return a file or folder in ``folder`` by name, or by another case of it if that exists."""
    path = folder / name
    if os.path.lexists(path):
        return path
    near = (item for item in entries(folder) if item.name.casefold() == name.casefold())
    return next(near, path)


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


def image_folders(path: Path, root: Path | None = None) -> list[Path]:
    """Return the folders that may hold the images of an annotation file or folder, in order.

    Beside it, in one of ``IMAGE_FOLDERS`` beside it or in a folder one or two above, also by
    subset: ``Annotations/train`` goes with ``Images/train``, and
    ``annotations/instances_train2017.json`` with ``train2017`` or ``images/train2017``. The last
    is ``root``, the folder that was asked for, if the annotations were found below it.
    """
    path = path.absolute()
    folder = path if path.is_dir() else path.parent
    subset = (path.stem if path.is_file() else path.name).removeprefix("instances_")
    above, top = folder.parent, folder.parent.parent
    found = [folder, *_image_places(folder), above, *_image_places(above)]
    subsets = [subset, word] if (word := subset_of(subset)) else [subset]
    found += [
        place / name
        for place in (*_image_places(folder), *_image_places(above))
        for name in subsets
    ]
    if path.is_dir():
        found += [place / subset for place in _image_places(top)]
    else:
        found += [folder / subset, above / subset]
    last = [] if root is None else [root.absolute()]
    return list(dict.fromkeys([*found, *_image_places(top), *last]))


def _image_places(folder: Path) -> list[Path]:
    """Return the folders of images in a folder, whatever their case."""
    return [child(folder, name) for name in IMAGE_FOLDERS]


def find_images(path: Path, annotations: Annotations, root: Path | None = None) -> Path:
    """Return the folder in which the images of ``annotations``, read from ``path``, are.

    It is the first of ``image_folders`` with one of the first images in it; the one beside ``path``
    if none has any (then reading an image says what is missing).
    """
    folders = image_folders(path, root)
    names = [image.file_name for image in annotations.images[:_PROBED]]
    holds = (folder for folder in folders if any(is_file(folder / name) for name in names))
    return next(holds, folders[0])


def images_below(folder: Path) -> dict[str, str]:
    """Return the images in a folder and its subfolders: names by stem, both relative to it.

    Of two images of one stem the first by name counts.
    """
    return images_and_twins(folder)[0]


def images_and_twins(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Return ``images_below``, and the names it leaves out for another one of their stem."""
    found: dict[str, str] = {}
    twins = []
    for path in files_below(folder, LOWER_SUFFIXES):
        name = path.relative_to(folder).as_posix()
        if found.setdefault(stem_of(name), name) != name:
            twins.append(name)
    return found, twins


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
