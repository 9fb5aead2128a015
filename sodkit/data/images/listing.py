"""Images that a user names, as records: files, folders and videos, without annotations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sodkit.data.formats.folders import files_below, is_folder, is_hidden
from sodkit.data.images.pixel_source import file_size
from sodkit.data.images.video import Frame, frame_path, is_video, video_size
from sodkit.data.naming import LOWER_SUFFIXES
from sodkit.data.records import ImageRecord
from sodkit.errors import DataError
from sodkit.outputs import OUTPUT_MARKS


class Listed(NamedTuple):
    """Images without annotations.

    Attributes:
        images: their records, with ids from 1 on.
        folder: where their ``file_name`` starts: the last folder they share.
        frames: of the images that are frames of a video, by id: which.
    """

    images: tuple[ImageRecord, ...]
    folder: Path
    frames: dict[int, Frame]


def list_images(
    paths: Iterable[Path],
    *,
    recursive: bool = False,
    say: Callable[[str], None] = lambda message: None,
    on_bad: Callable[[DataError], None] | None = None,
    bands: Sequence[int] | None = None,
    every: int = 1,
) -> Listed:
    """Return the images among ``paths`` with ids from 1 on, in the given order.

    Args:
        paths: image files, videos, and folders of which every image is taken, sorted by name.
        recursive: take those in the folders' subfolders, too. Hidden subfolders are left out, and
            those that a command of ours has written.
        say: called with subfolders that are left out, and what is taken of videos.
        on_bad: called with what is wrong with an image, which is left out; None: it is raised.
        bands: of an image of many, those that are wanted.
        every: take each N-th frame of a video and each N-th image of a folder, the first one first.

    Raises:
        DataError: a path that does not exist, is no image, or a folder without one.
    """
    files: list[Path] = []
    for path in paths:
        files += _images_in(path, recursive, say)[::every] if is_folder(path) else [path]
    if not files:
        raise DataError("no image is named", hint="name image files or folders of images")
    folder = Path(os.path.commonpath([file.absolute().parent for file in files]))
    records: list[ImageRecord] = []
    frames: dict[int, Frame] = {}
    names = set[Path]()

    def add(file: Path, width: int, height: int) -> int:
        name = file.absolute().relative_to(folder).as_posix()
        records.append(ImageRecord(len(records) + 1, name, width, height))
        return len(records)

    for file in files:
        try:
            if not is_video(file):
                add(file, *file_size(file, bands))
                continue
            width, height, count = video_size(file)
        except DataError as error:
            if on_bad is None:
                raise
            on_bad(error)
            continue
        place = file.with_suffix("")
        place = file.with_name(f"{file.name}.frames") if place in names else place
        names.add(place)
        numbers = range(1, count + 1, every)
        say(f"{file}: {len(numbers)} of {count} frames are taken")
        frames |= {
            add(frame_path(place, number), width, height): Frame(file, number) for number in numbers
        }
    return Listed(tuple(records), folder, frames)


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
