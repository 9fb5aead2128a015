"""Which format a path is of, and where in a folder its annotations are."""

from __future__ import annotations

import os
import re
from itertools import islice
from pathlib import Path

import msgspec

from sodkit.data.formats.folders import (
    LABEL_FOLDERS,
    child,
    entries,
    files_below,
    is_file,
    is_folder,
)
from sodkit.data.formats.foreign import held_by, refuse_json
from sodkit.data.formats.source import read_bytes
from sodkit.data.formats.subset_names import by_subset
from sodkit.data.formats.subsets import find_subsets, image_sets, unwrapped
from sodkit.errors import DataError
from sodkit.json_text import FAULTS

PATCHES = "annotations.json"
"""The annotation file in a folder written by ``sodkit split``."""

_UPRIGHT = ("reclabeltxt", "_hbb")
"""Ends of DOTA's folders with the same objects as upright boxes."""
_SNIFFED = 20
"""So many label files are looked into; most may be empty."""


_HEAD = 1 << 16
"""So many bytes of a file of JSON are looked into."""

_IMAGES = re.compile(rb'"images"\s*:\s*(\[|\{\s*"(?:file_name|width|height|id)")')
"""SODA-A's ``images`` are one image's object, or a list of one; COCO's a list."""

_OF_COCO = (b'"bbox"', b'"segmentation"', b'"image_id"')
"""An annotation of COCO's has one of these at least."""


def recognise(path: Path) -> str:
    """Return the format of an existing file or folder of annotations.

    Raises:
        DataError: if it is none that is known, or the root of several subsets.
    """
    return locate(path)[0]


def locate(path: Path) -> tuple[str, Path]:
    """Return the format of annotations, and the file or folder that they are in.

    Raises:
        DataError: if it is none that is known, or the root of several subsets.
    """
    path = unwrapped(path)
    found = place_of(path)
    if found is not None:
        return found
    inner = only_source(path)
    if inner != path:
        return locate(inner)
    refuse_json(path)
    form = _of_folder(path, below=True) if path.is_dir() else None
    if form == "coco":
        return form, coco_file(path)
    if form is None:
        refuse_json(path, below=True)
    found = place_of(path, loose=True) if form is None else (form, path)
    if found is not None:
        return found
    held, advice = held_by(path)
    raise DataError(
        f"no annotations of a known format: {held}",
        where=path,
        hint=advice
        or "known: COCO JSON, a folder of patches, SODA-A (one JSON an image), DOTA text, YOLO "
        "and YOLO-OBB (labels or data.yaml), XML (Pascal VOC, FAIR1M, DIOR-R, MAR20, HRSC2016), "
        "VisDrone text, KITTI text, BDD100K JSON, xView GeoJSON; --format says which it is",
    )


def only_source(path: Path) -> Path:
    """Return where the only subset of a root folder is; without subsets, the path itself.

    Raises:
        DataError: it holds several.
    """
    subsets = [] if is_plain(path) else find_subsets(path)
    if len(subsets) < 2:
        return subsets[0].path if subsets else path
    names = ", ".join(item.name for item in subsets)
    raise DataError(
        f"holds several subsets: {names}",
        where=path,
        hint=f"choose one by --subset, or give one of them: {subsets[0].path}",
    )


def is_annotations(path: Path) -> bool:
    """Return whether ``path`` looks like annotations of a known format."""
    if not os.path.exists(path):  # also of a name that no system takes, unlike Path.exists
        return False
    try:
        locate(path)
    except DataError:
        return bool(find_subsets(path))
    return True


def is_plain(path: Path) -> bool:
    """Return whether a source holds no subsets."""
    from sodkit.data.formats import yolo_yaml

    if is_file(path):
        return path.suffix.lower() not in yolo_yaml.YAML_SUFFIXES
    path = unwrapped(path)
    if yolo_yaml.find_yaml(path) is not None or image_sets(path):
        return False
    return place_of(path) is not None


def is_source(path: Path) -> bool:
    """Return whether a file may be annotations: it is none that ``predict`` wrote."""
    return is_file(path) and not _is_output(path)


def is_of_one_image(path: Path) -> bool:
    """Return whether a file of JSON is one of SODA-A's, by its start: it describes one image."""
    return _describes_one(_start_of(path))


def _start_of(path: Path) -> bytes:
    """Return the first bytes of a file; none of one that cannot be read, which its reader says."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _describes_one(start: bytes) -> bool:
    """Return whether JSON that begins so is one of SODA-A's."""
    images = _IMAGES.search(start)
    if images and images[1].startswith(b"{"):
        return True
    others = _OF_COCO if images else (b'"bbox"',)  # image_id names one of a list
    return b'"poly"' in start and not any(key in start for key in others)


def place_of(path: Path, *, loose: bool = False) -> tuple[str, Path] | None:
    """Return the format and place of annotations in a file or folder, None if there are none.

    The place is the folder itself or one of ``LABEL_FOLDERS`` in it; of COCO the file.

    Args:
        path: file or folder.
        loose: take JSON of no sign as SODA-A's, whose reader then says what is wrong.
    """
    if is_file(path):
        form = _of_file(path)
        return None if form is None else (form, path)
    if not is_folder(path):
        return None
    folders = [path, *(child(path, name) for name in LABEL_FOLDERS), *_dota_folders(path)]
    for folder in folders:
        form = _of_folder(folder) if folder.is_dir() else None
        if form == "coco":
            return form, coco_file(folder)
        if form is not None:
            return form, folder
    for folder in folders if loose else ():
        if folder.is_dir() and _files(folder, ".json", False):
            return "soda-a", folder
    return None


def coco_file(folder: Path) -> Path:
    """Return the one COCO file in a folder, else in its subfolders.

    Raises:
        DataError: if there is none, or several.
    """
    patches = folder / PATCHES
    if patches.is_file() and not _is_output(patches):
        return patches
    for below in (False, True):
        found = [file for file in _files(folder, ".json", below) if _json_kind(file) == "coco"]
        if len(found) > 1:
            names = ", ".join(str(file.relative_to(folder)) for file in found)
            raise DataError(
                f"holds {len(found)} COCO files: {names}",
                where=folder,
                hint=f"give one of them: {found[0]}",
            )
        if found:
            return found[0]
    raise DataError("holds no COCO JSON", where=folder)


def _dota_folders(path: Path) -> list[Path]:
    """Return the folders of labels in DOTA as unpacked: ``labelTxt-v1.0/labelTxt``.

    Raises:
        DataError: if there are those of several versions.
    """
    tops = [item for item in entries(path) if item.name.casefold().startswith("labeltxt-")]
    inner = [
        item
        for top in tops
        for item in ([sub for sub in entries(top) if sub.is_dir()] or [top])
        if not item.name.casefold().endswith(_UPRIGHT)
    ]
    if len(inner) > 1:
        names = ", ".join(str(item.relative_to(path)) for item in inner)
        raise DataError(
            "holds several folders of labels",
            where=path,
            hint=f"give one of them as ANN, with --images: {names}",
        )
    return inner


def _of_file(path: Path) -> str | None:
    from sodkit.data.formats import yolo_yaml

    suffix = path.suffix.lower()
    if suffix == ".geojson":
        return "xview"
    if suffix == ".json":
        start = _start_of(path)
        if b'"box2d"' in start and b'"labels"' in start:  # the boxes near its start
            return "bdd100k"
        return "soda-a" if _describes_one(start) else "coco"
    if suffix == ".xml":
        return "voc"
    if suffix in yolo_yaml.YAML_SUFFIXES:
        return "yolo"
    return _of_text([path]) if suffix == ".txt" else None


def _of_folder(path: Path, *, below: bool = False) -> str | None:
    """Return the format of the files right in a folder, or of those in its subfolders."""
    from sodkit.data.formats import yolo_yaml  # not needed for a file, and slow to load

    if (path / PATCHES).is_file() and not _is_output(path / PATCHES):
        return "coco"
    if yolo_yaml.find_yaml(path) is not None:
        return "yolo"
    named = by_subset(_files(path, ".json", False)).values()
    if any(not is_of_one_image(file) for file in named):
        return None
    kinds = {_json_kind(file) for file in _files(path, ".json", below)}
    if kinds & {"coco", "soda-a"}:
        return "soda-a" if "soda-a" in kinds else "coco"
    if _files(path, ".xml", below):
        return "voc"
    return _of_text(_files(path, ".txt", below))


class _Json(msgspec.Struct):
    annotations: msgspec.Raw
    images: msgspec.Raw = msgspec.Raw()
    categories: msgspec.Raw = msgspec.Raw()


def _json_kind(path: Path) -> str | None:
    """Return whether a JSON is COCO's or one of SODA-A's, None if it has no annotations.

    COCO's annotations have a box or segmentation, SODA-A's corners alone. Without annotations,
    images with ids are COCO's.
    """
    try:
        content = msgspec.json.decode(read_bytes(path), type=_Json)
    except (DataError, *FAULTS):
        return None
    head = bytes(memoryview(content.annotations)[:4096])
    if b'"poly"' in head and b'"bbox"' not in head:
        return "soda-a"
    if not head.startswith(b"["):
        return None
    if any(key in head for key in _OF_COCO):
        return "coco"
    images = bytes(memoryview(content.images)[:4096])
    return "coco" if content.categories and b'"id"' in images else "soda-a"


def _files(folder: Path, suffix: str, below: bool) -> list[Path]:
    """Return some files of a suffix in a folder, or also in its subfolders."""
    from sodkit.data.formats.labels import is_label_name, is_output

    found = files_below(folder, (suffix,), below=below)
    own = (path for path in found if is_label_name(path.name) and not is_output(path))
    return list(islice(own, _SNIFFED))


def _is_output(path: Path) -> bool:
    from sodkit.data.formats.labels import is_output  # slow to load, not needed for a file

    return is_output(path)


def _of_text(paths: list[Path]) -> str | None:
    """Return which format a text is of, by the first lines that are of one."""
    from sodkit.data.formats import dota, kitti, visdrone, yolo

    signs = {"visdrone": visdrone, "kitti": kitti, "yolo": yolo}

    for path in paths:
        try:
            text = read_bytes(path).decode(errors="replace")
        except DataError:
            continue
        lines = [line for line in text.splitlines() if line.strip()][:_SNIFFED]
        for line in lines:
            if line.startswith(dota.HEADERS) or dota.is_label_line(line):
                return "dota"
            for name, module in signs.items():
                if module.is_label_line(line):
                    return name
    return None
