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
    files_below,
    image_folders,
    is_file,
    is_folder,
    stem_of,
)
from sodkit.data.formats.source import Oddity, Report, leads_elsewhere, lost_name
from sodkit.data.naming import LOWER_SUFFIXES
from sodkit.data.records import ImageRecord

_PROBED = 100
"""So many images are looked up, evenly over all, to see whether the names fit."""


def resolve_names(
    own: Collected, path: Path, images: Path | None, report: Report, root: Path | None = None
) -> Collected:
    """Return what was collected, images named as the files in their folder are.

    Args:
        own: what was collected; names may be those of another machine.
        path: where it was read from.
        images: the folder of the images, None: the usual ones.
        report: called with an ``Oddity`` on names taken otherwise, and an error on paths elsewhere
            that fit no file; those images stay, by their last name.
        root: the folder that was asked for, if the annotations were found below it.
    """
    names = [image.file_name for image in own.images]
    found = meant_files(names, path, images, root)
    return _renamed(own, path, found, report)


def meant_files(
    names: Sequence[str], path: Path, images: Path | None, root: Path | None = None
) -> dict[str, str]:
    """Return the file, relative to the images' folder, that names mean; as far as that is sure.

    Files are only listed if some of the names lead elsewhere or some of ``_PROBED`` are not there.

    Args:
        names: of images, as a source states them.
        path: the source.
        images: the folder of the images, None: the usual ones.
        root: the folder that was asked for, if the annotations were found below it.
    """
    strange = any(leads_elsewhere(name) for name in names)
    folders = [images] if images is not None else image_folders(path, root)
    step = max(1, len(names) // _PROBED)
    if not strange and (not names or _fits(folders, names[::step])):
        return {}
    for folder in folders:
        if is_folder(folder):
            # The folder above the annotations may be a home folder: only right in it.
            own_folder = path.absolute().parent
            asked = images is not None or (root is not None and folder == root.absolute())
            below = asked or folder not in (own_folder, own_folder.parent)
            found = _meant(names, folder, files_below(folder, LOWER_SUFFIXES, below=below))
            if found:
                return found
    return {}


def note_renamed(changed: Sequence[tuple[str, str]], path: Path, report: Report) -> None:
    """Report an ``Oddity`` on image names (as stated, as taken) that are taken otherwise."""
    if changed:
        first, new = changed[0]
        what = f"image names taken as the one file that fits: {len(changed)}"
        report(Oddity(what, where=path, hint=f"first: {first} is {new}"), "renamed")


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
    found, own = {}, folder.absolute().parts
    for name in names:
        clean = name.replace("\\", "/")
        if clean in known:
            found[name] = clean
            continue
        ends = [end.casefold() for end in _ends_meant(name, clean, own)]
        keys = [*ends, *(stem_of(end) + "." for end in ends)]
        meant = next((by_end[key] for key in keys if key in by_end), set())
        if len(meant) == 1:
            found[name] = next(iter(meant))
    count = Counter(found.values())
    return {name: file for name, file in found.items() if count[file] == 1}


def _ends_meant(name: str, clean: str, own: tuple[str, ...]) -> list[str]:
    """Return the ends of a path that may lie in a folder, the longest first; ``own``: its parts.

    The folders of a relative name are meant: another folder's file is another image. But
    ``images/a.jpg`` is ``a.jpg`` in the folder ``images``.
    """
    if leads_elsewhere(name):
        return _ends(clean)
    parts = clean.split("/")
    within = [n for n in range(1, len(parts)) if own[-n:] == tuple(parts[:n])]
    return [clean, *("/".join(parts[count:]) for count in within)]


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
        elif leads_elsewhere(name):
            lost.append((index, image))
            last = name.replace("\\", "/").rpartition("/")[2]
            name = f"{image.id}" if last in {"", ".", ".."} else last
        renamed.append(replace(image, file_name=name))
    if lost:
        index, image = lost[0]
        place = own.image_place or (lambda index: f"{path}: images[{index}] (id {image.id})")
        report(lost_name(image.file_name, place(index), len(lost) - 1), "missing")
    note_renamed(changed, path, report)
    return replace(own, images=renamed) if changed or lost else own
