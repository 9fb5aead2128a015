"""Image files that a user names, as records: files and folders, without annotations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sodkit.data.formats.folders import LOWER_SUFFIXES, files_below, is_folder, is_hidden
from sodkit.data.images.pixel_source import file_size
from sodkit.data.records import ImageRecord
from sodkit.errors import DataError
from sodkit.outputs import OUTPUT_MARKS


def list_images(
    paths: Iterable[Path],
    *,
    recursive: bool = False,
    say: Callable[[str], None] = lambda message: None,
    on_bad: Callable[[DataError], None] | None = None,
    bands: Sequence[int] | None = None,
) -> tuple[tuple[ImageRecord, ...], Path]:
    """Return the images among ``paths`` with ids from 1 on, in the given order.

    Args:
        paths: image files, and folders of which every image is taken, sorted by name.
        recursive: take those in the folders' subfolders, too. Hidden subfolders are left out, and
            those that a command of ours has written.
        say: called with subfolders that are left out.
        on_bad: called with what is wrong with an image, which is left out; None: it is raised.
        bands: of an image of many, those that are wanted.

    Returns:
        the images, and the folder where their ``file_name`` starts: the last one they share.

    Raises:
        DataError: a path that does not exist, is no image, or a folder without one.
    """
    files: list[Path] = []
    for path in paths:
        files += _images_in(path, recursive, say) if is_folder(path) else [path]
    if not files:
        raise DataError("no image is named", hint="name image files or folders of images")
    folder = Path(os.path.commonpath([file.absolute().parent for file in files]))
    records: list[ImageRecord] = []
    for file in files:
        try:
            width, height = file_size(file, bands)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(error)
            continue
        name = file.absolute().relative_to(folder).as_posix()
        records.append(ImageRecord(len(records) + 1, name, width, height))
    return tuple(records), folder


def _images_in(folder: Path, recursive: bool, say: Callable[[str], None]) -> list[Path]:
    """Return the image files of a folder, sorted; and say which subfolders are not read."""
    found, hint = _right_in(folder), None
    if recursive:
        found += [path for place in _subfolders(folder, say) for path in _right_in(place)]
    else:
        deeper = _subfolders(folder, lambda message: None)
        places = [place for place in deeper if _right_in(place)]
        if places:
            more = f" and {len(places) - 1} more" if len(places) > 1 else ""
            hint = f"there are images in {places[0]}{more}: --recursive takes them"
    if not found:
        raise DataError("there are no images in this folder", where=folder, hint=hint)
    if hint is not None:
        say(f"{folder}: {hint}")
    return sorted(found)


def _right_in(folder: Path) -> list[Path]:
    """Return the image files right in ``folder``, sorted."""
    return list(files_below(folder, LOWER_SUFFIXES, below=False))


def _subfolders(folder: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """Yield the folders below one; links to folders are not followed, so no loop can trap."""
    for place, names, _ in os.walk(folder):
        kept = []
        for name in sorted(names):
            path = Path(place) / name
            if any((path / mark).is_file() for mark in OUTPUT_MARKS):
                say(f"{path} is left out: a command of sodkit wrote it")
            elif not is_hidden(name) and not path.is_symlink():
                kept.append(name)
        names[:] = kept
        yield from (Path(place) / name for name in kept)
