"""Image names that are paths of another machine, or have another suffix than the file has.

Each is taken as the one file that it can mean, and an ``Oddity`` says so: nothing is guessed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.folders import (
    LOWER_SUFFIXES,
    files_below,
    image_folders,
    is_file,
    is_folder,
    stem_of,
)
from sodkit.data.formats.source import Oddity, Report, is_foreign
from sodkit.data.records import ImageRecord
from sodkit.errors import DataError

_PROBED = 100
"""So many images are looked up, evenly over all, to see whether the names fit."""


def resolve_names(own: Collected, path: Path, images: Path | None, report: Report) -> Collected:
    """Return what was collected, images named as the files in their folder are.

    Files are only listed if some of the names are absolute or some of ``_PROBED`` are not there.

    Args:
        own: what was collected; names may be absolute.
        path: where it was read from.
        images: the folder of the images, None: the usual ones.
        report: called with an ``Oddity`` on names taken otherwise, and an error on absolute ones
            that fit no file; those images stay, by their last name.
    """
    names = [image.file_name for image in own.images]
    strange = any(is_foreign(name) for name in names)
    folders = [images] if images is not None else image_folders(path)
    step = max(1, len(names) // _PROBED)
    sample = names[::step]
    if not strange and (_fits(folders, sample) or not names):
        return own
    for folder in folders:
        if is_folder(folder):
            # The folder above the annotations may be a home folder: only right in it.
            own_folder = path.absolute().parent
            below = images is not None or folder not in (own_folder, own_folder.parent)
            found = _meant(names, folder, files_below(folder, LOWER_SUFFIXES, below=below))
            if found:
                return _renamed(own, path, found, report)
    return _renamed(own, path, {}, report)


def _fits(folders: Sequence[Path], names: Sequence[str]) -> bool:
    return any(all(is_file(folder / name) for name in names) for folder in folders)


def _meant(names: Sequence[str], folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """Return the file, relative to the folder, that each name means; none if that is not sure."""
    known = {file.relative_to(folder).as_posix() for file in files}
    by_end: dict[str, set[str]] = defaultdict(set)
    for file in known:
        for end in _ends(file):
            by_end[end.casefold()].add(file)
            by_end[stem_of(end).casefold() + "."].add(file)
    found = {}
    for name in names:
        clean = name.replace("\\", "/")
        if clean in known:
            found[name] = clean
            continue
        # The folders of a relative name are meant: another folder's file is another image.
        ends = [end.casefold() for end in (_ends(clean) if is_foreign(name) else [clean])]
        keys = [*ends, *(stem_of(end) + "." for end in ends)]
        meant = next((by_end[key] for key in keys if key in by_end), set())
        if len(meant) == 1:
            found[name] = next(iter(meant))
    count = Counter(found.values())
    return {name: file for name, file in found.items() if count[file] == 1}


def _ends(name: str) -> list[str]:
    """Return a path's ends, the longest first: ``a/b/c``, ``b/c``, ``c``."""
    parts = [part for part in PurePosixPath(name).parts if part not in {"/", ".."}]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _renamed(own: Collected, path: Path, found: dict[str, str], report: Report) -> Collected:
    """Return what was collected with other names, and report what was done."""
    renamed: list[ImageRecord] = []
    changed: list[tuple[str, str]] = []
    lost: list[tuple[int, ImageRecord]] = []
    for index, image in enumerate(own.images):
        name = found.get(image.file_name, image.file_name)
        if name != image.file_name:
            changed.append((image.file_name, name))
        elif is_foreign(name):
            lost.append((index, image))
            name = name.replace("\\", "/").rpartition("/")[2] or f"{image.id}"
        renamed.append(replace(image, file_name=name))
    if lost:
        index, image = lost[0]
        more = f" (and {len(lost) - 1} more like it)" if len(lost) > 1 else ""
        error = DataError(
            f"the file name {image.file_name!r} is a path of another machine, and no file here has "
            f"that name alone{more}",
            where=f"{path}: images[{index}] (id {image.id})",
            hint="give the folder of the images by --images",
        )
        report(error, "missing")
    if changed:
        first, new = changed[0]
        what = f"{len(changed)} image names are taken as the one file that fits"
        report(Oddity(what, where=path, hint=f"first: {first} is {new}"), "renamed")
    return replace(own, images=renamed) if changed or lost else own
