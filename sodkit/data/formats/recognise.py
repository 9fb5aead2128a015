"""Which format a path is of, and the subsets of a data set's root folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sodkit.data.formats.source import read_bytes
from sodkit.errors import DataError

PATCHES = "annotations.json"
"""The annotation file in a folder written by ``sodkit split``."""

SUBSETS = ("train", "val", "valid", "test")
"""Names of subsets that are looked for."""

_BASES = ("rawData", "", "divData")
"""Folders below a root, likeliest first: SODA's originals come before its patches."""

_LAYOUTS = (
    "Annotations/{}.json",
    "annotations/{}.json",
    "{}.json",
    "Annotations/{}",
    "annotations/{}",
    "{}/Annotations",
    "{}/annotations",
    "{}/labelTxt",
    "labelTxt/{}",
    "{}/labels",
    "labels/{}",
    "{}",
)
_SNIFFED = 20
"""So many label files are looked into; most may be empty."""


_HEAD = 1 << 16
"""So many bytes of a file of JSON are looked into."""


@dataclass(frozen=True, slots=True)
class Subset:
    """A subset of a data set: its name and where its annotations are."""

    name: str
    path: Path


def recognise(path: Path) -> str:
    """Return the format of an existing file or folder of annotations.

    Raises:
        DataError: if it is none that is known, or the root of several subsets.
    """
    found = _of_file(path) if path.is_file() else _of_folder(path)
    if found is not None:
        return found
    subsets = find_subsets(path)
    if subsets:
        names = ", ".join(str(item.path.relative_to(path)) for item in subsets)
        raise DataError("holds several subsets", where=path, hint=f"give one of them: {names}")
    found = _of_folder(path, below=True) if path.is_dir() else None
    if found is not None:
        return found
    raise DataError(
        "no annotations of a known format",
        where=path,
        hint="known: COCO JSON, a folder of patches, SODA-A (one JSON an image), DOTA text, YOLO "
        "and YOLO-OBB (labels or data.yaml), XML (Pascal VOC, FAIR1M, DIOR-R, MAR20, HRSC2016), "
        "VisDrone text, KITTI text, BDD100K JSON, xView GeoJSON; --format says which it is",
    )


def is_annotations(path: Path) -> bool:
    """Return whether ``path`` looks like annotations of a known format."""
    if not os.path.exists(path):  # also of a name that no system takes, unlike Path.exists
        return False
    try:
        recognise(path)
    except DataError:
        return False
    return True


def find_subsets(root: Path) -> list[Subset]:
    """Return the subsets below a root folder, none if it is not such a root.

    Understood are SODA-D and SODA-A as downloaded (``rawData``, their patches in ``divData``), a
    YOLO YAML's folder with ``labels``, and folders or files named by subset.
    """
    if not root.is_dir():
        return []
    for base in _BASES:
        folder = root / base
        for layout in _LAYOUTS if folder.is_dir() else ():
            paths = [(name, folder / layout.format(name)) for name in SUBSETS]
            found = [Subset(name, path) for name, path in paths if _is_source(path)]
            if found:
                return found
    return []


def _is_source(path: Path) -> bool:
    if path.is_file():
        return not _is_output(path)
    return path.is_dir() and _of_folder(path) is not None


def _of_file(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix == ".geojson":
        return "xview"
    if suffix == ".json" and _is_bdd(path):
        return "bdd100k"
    if suffix in {".json", ".xml"}:
        return "coco" if suffix == ".json" else "voc"
    if suffix in {".yaml", ".yml"}:
        return "yolo"
    return _of_text([path]) if suffix == ".txt" else None


def _is_bdd(path: Path) -> bool:
    """Return whether a file of JSON is BDD100K's, by the boxes near its start."""
    with path.open("rb") as file:
        start = file.read(_HEAD)
    return b'"box2d"' in start and b'"labels"' in start


def _of_folder(path: Path, *, below: bool = False) -> str | None:
    """Return the format of the files right in a folder, or of those in its subfolders."""
    from sodkit.data.formats import (  # not needed for a file, and slow to load
        dota,
        kitti,
        visdrone,
        voc,
        yolo,
    )

    if (path / PATCHES).is_file() and not _is_output(path / PATCHES):
        return "coco"
    if yolo.find_yaml(path) is not None:
        return "yolo"
    named = [path / f"{name}.json" for name in SUBSETS]
    if any(file.is_file() and not _is_output(file) for file in named):
        return None
    if _files(path, ".json", below):
        return "soda-a"
    if any(_files(folder, ".xml", below) for folder in (path, *(path / x for x in voc.FOLDERS))):
        return "voc"
    inner = (dota.LABELS, yolo.LABELS, visdrone.LABELS, kitti.LABELS)
    for folder in (path, *(path / name for name in inner)):
        found = _of_text(_files(folder, ".txt", below))
        if found is not None:
            return found
    return None


def _files(folder: Path, suffix: str, below: bool) -> list[Path]:
    """Return some files of a suffix in a folder, or also in its subfolders."""
    from sodkit.data.formats.labels import CLASSES_FILE, is_output

    found = folder.rglob(f"*{suffix}") if below else folder.glob(f"*{suffix}")
    own = (path for path in found if path.name != CLASSES_FILE and not is_output(path))
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
