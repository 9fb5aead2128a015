"""A YOLO data set's YAML and darknet's ``obj.data``: class names, images of each subset."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sodkit.data.formats.class_lists import read_class_list
from sodkit.data.formats.folders import child, files_below, images_and_twins, is_file, is_folder
from sodkit.data.formats.labels import note_twins
from sodkit.data.formats.source import (
    Oddity,
    Report,
    is_foreign,
    read_bytes,
    read_lines,
    safe_name,
    stop,
)
from sodkit.errors import DataError
from sodkit.yaml_text import YamlError, parse_yaml

YAML = "data.yaml"
DARKNET = ".data"
YAML_SUFFIXES = (".yaml", ".yml", DARKNET)
SUBSETS = ("train", "val", "test")
_SUBSETS = (*SUBSETS, "valid", "")
_KEYPOINTS = 10_000
"""Points of an object, or numbers of a point, that are taken for a slip from here on."""

_DEEPEST = 32
"""So many parts of a path of another machine are looked at: a folder is listed for each."""


@dataclass(frozen=True, slots=True)
class YoloYaml:
    """A data set's YAML.

    Attributes:
        path: of the YAML.
        root: the folder that its paths start at.
        names: of the classes.
        subsets: images by subset: folders, lists of images or text files of them.
        keypoints: numbers of keypoints that stand behind a box (``kpt_shape``), 0: none.
    """

    path: Path
    root: Path
    names: tuple[str, ...]
    subsets: dict[str, tuple[str, ...]]
    keypoints: int = 0


def find_yaml(folder: Path) -> Path | None:
    """Return the YAML or ``obj.data`` in a folder that names classes, None if there is none.

    One beside subsets with labels as DOTA has them is not YOLO's (Roboflow's oriented export).
    """
    if not is_folder(folder) or any(is_folder(folder / name / "labelTxt") for name in _SUBSETS):
        return None
    found = list(files_below(folder, YAML_SUFFIXES, below=False))
    found.sort(key=lambda path: (path.suffix.lower() == DARKNET, path.name != YAML))
    return next((path for path in found if _has_names(path)), None)


def _has_names(path: Path) -> bool:
    try:
        lines = read_lines(path)
    except DataError:
        return False
    if path.suffix.lower() == DARKNET:
        return any(line.split("=")[0].strip() == "names" for line in lines)
    return any(line.startswith(("names:", "'names'", '"names"')) for line in lines)


def _read_darknet(path: Path) -> YoloYaml:
    """Read ``obj.data``: lines ``key = value``; train and valid are lists of images."""
    pairs = (line.partition("=") for line in read_lines(path))
    values = {key.strip(): value.strip() for key, _, value in pairs if value.strip()}
    root = path.absolute().parent
    file = _place(values.get("names", ""), root)
    if file is None or not is_file(file):
        what = f"there is no such list of class names: {values.get('names')!r}"
        raise DataError(what, where=f"{path}: names", hint=f"put it into {root}")
    keys: tuple[str, ...] = ("train", "valid", "val", "test")
    subsets: dict[str, tuple[str, ...]]
    subsets = {key: (values[key],) for key in keys if key in values}
    return YoloYaml(path, root, read_class_list(file), subsets)


def read_yaml(path: Path) -> YoloYaml:
    """Read a data set's YAML.

    Raises:
        DataError: if it is broken, or has no usable ``names``.
    """
    if path.suffix.lower() == DARKNET:
        return _read_darknet(path)
    try:
        content = parse_yaml(read_bytes(path))
    except YamlError as error:
        raise DataError(
            f"broken YAML: {error}", where=f"{path}:{error.line}", hint=error.hint
        ) from error
    if not isinstance(content, dict):
        raise DataError("the YAML is no mapping", where=path)
    base = content.get("path", ".")
    if not isinstance(base, str):
        raise DataError("is not a path", where=f"{path}: path")
    root = path.absolute().parent / base
    # A path made on another machine: the folder of the YAML itself is the next best.
    root = root.resolve() if is_folder(root) else path.absolute().parent
    subsets = {key: _paths(content[key], path, key) for key in SUBSETS if content.get(key)}
    return YoloYaml(path, root, _names(content, path), subsets, _keypoints(content, path))


def _keypoints(content: dict[Any, Any], path: Path) -> int:
    """Return how many numbers of keypoints a line has: points times numbers each."""
    shape = content.get("kpt_shape")
    if shape is None:
        return 0
    sound = isinstance(shape, list) and len(shape) == 2
    if not sound or not all(isinstance(n, int) and 1 <= n < _KEYPOINTS for n in shape):
        raise DataError("must be [points, numbers each]", where=f"{path}: kpt_shape")
    return int(shape[0] * shape[1])


def _names(content: dict[Any, Any], path: Path) -> tuple[str, ...]:
    names = content.get("names")
    where = f"{path}: names"
    if isinstance(names, dict):
        if sorted(map(str, names)) != sorted(str(i) for i in range(len(names))):
            raise DataError("the numbers of the classes must be 0, 1, 2 ...", where=where)
        by_number = {int(key): value for key, value in names.items()}
        names = [by_number[i] for i in range(len(by_number))]
    if not isinstance(names, list) or not names:
        raise DataError("must be a list of class names, or numbers with names", where=where)
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int):
            what = f"YAML reads a class name as {_kind(name)}, not as a text"
            raise DataError(what, where=where, hint="put the class names in quotes")
    texts = tuple(str(name) for name in names)
    twice = next((name for name, count in Counter(texts).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"the class name {twice!r} occurs twice", where=where)
    count = content.get("nc", len(texts))
    if count != len(texts):
        raise DataError(f"nc is {count}, but there are {len(texts)} names", where=where)
    return texts


def _kind(value: object) -> str:
    """Say what YAML made of a class name."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"the number {value}" if isinstance(value, float) else "a list or mapping"


def _paths(value: object, path: Path, key: str) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) and "\0" not in item for item in values):
        raise DataError("is not a path or a list of paths", where=f"{path}: {key}")
    return tuple(values)


def subset_images(data: YoloYaml, subset: str, root: Path, report: Report = stop) -> Iterator[Path]:
    """Yield the images of a subset, absolute, below ``root``.

    A path that is not there is taken as its longest end that is below ``root``: exported data begin
    with ``../``, and other machines have other folders above. ``report`` is called with an
    ``Oddity``.

    Raises:
        DataError: if a folder or list is missing or leads out of the data set.
    """
    for value in data.subsets[subset]:
        where = f"{data.path}: {subset}"
        place = _place(value, root)
        if place is None:
            raise _not_there(value, root, where)
        if is_folder(place):
            images, twins = images_and_twins(place)
            note_twins(place, twins, report)
            yield from (place / name for name in sorted(images.values()))
            continue
        moved = 0
        for line, text in enumerate(read_lines(place), start=1):
            if text.strip():
                image = _listed(text.strip(), root, f"{place}:{line}")
                moved += os.path.normpath(root / text.strip()) != str(image)
                yield image
        if moved:
            what = f"{moved} images are named by paths of another machine or folder"
            hint = "the ends of the paths are taken"
            report(Oddity(what, where=place, hint=f"{hint}, below {root}"), "moved")


def _not_there(value: str, root: Path, where: str) -> DataError:
    """Return the error for images that are neither at a path nor below the data set's folder."""
    if is_foreign(value):
        what = f"the path {value!r} is of another machine, and no end of it is in {root}"
        return DataError(what, where=where, hint="write the path as it is here")
    safe_name(os.path.normpath(_without_climb(value)), where)
    return DataError(
        f"no such folder of images: {value}",
        where=where,
        hint=f"put the images into {root / _without_climb(value)}, or read the label files by "
        "their folder",
    )


def _without_climb(value: str) -> str:
    while value.startswith("../"):
        value = value.removeprefix("../")
    return value


def _listed(value: str, root: Path, where: str) -> Path:
    """Return the image that a line of a list names."""
    image = _place(value, root)
    if image == root:
        raise DataError(f"{value!r} is the data set's folder, not an image", where=where)
    if image is not None:
        return image
    if is_foreign(value):
        raise _not_there(value, root, where)
    return root / safe_name(os.path.normpath(_without_climb(value)), where)


def _place(value: str, root: Path) -> Path | None:
    """Return the file or folder below ``root`` that a path means, None if there is none."""
    parts = value.replace("\\", "/").split("/")
    direct = Path(os.path.normpath(root / value))
    if direct.is_relative_to(root) and (is_file(direct) or is_folder(direct)):
        return direct
    parts = [part for part in parts if part not in {"", "."}][-_DEEPEST:]
    for start in range(len(parts)):
        if ".." not in parts[start:]:
            place = _below(root, parts[start:])
            if place is not None:
                return place
    return None


def _below(root: Path, parts: Sequence[str]) -> Path | None:
    """Return the file or folder at these parts of a path, None if there is none."""
    place = root
    for part in parts:
        place = child(place, part)
        if not (is_file(place) or is_folder(place)):
            return None
    return place


def subsets_there(data: YoloYaml) -> dict[str, bool]:
    """Return whether each subset's images are there, of those that name the same only the first."""
    first = {paths: key for key, paths in reversed(data.subsets.items())}
    root = data.root.absolute()
    return {
        key: all(_place(value, root) is not None for value in paths)
        for key, paths in data.subsets.items()
        if first[paths] == key
    }


def note_subsets(data: YoloYaml, report: Report) -> None:
    """Report an ``Oddity`` on every subset that is named and cannot be one.

    Its images are not there (``absent``), or they are those of another one (``same-images``).
    """
    there = subsets_there(data)
    for key, is_there in there.items():
        if not is_there and any(there.values()):
            what = f"its images are not there: {', '.join(data.subsets[key])}"
            hint = "the other subsets are read"
            report(Oddity(what, where=f"{data.path}: {key}", hint=hint), "absent")
    for key in (key for key in data.subsets if key not in there):
        other = next(name for name in there if data.subsets[name] == data.subsets[key])
        what = f"these are the images of {other}: they are one subset"
        hint = "name other images: what was trained on measures nothing"
        report(Oddity(what, where=f"{data.path}: {key}", hint=hint), "same-images")


def only_subset(data: YoloYaml) -> str:
    """Return the one subset of a YAML.

    Raises:
        DataError: if there are none or several.
    """
    if not data.subsets:
        raise DataError("names no images: train, val or test is missing", where=data.path)
    known = subsets_there(data)
    there = [key for key, is_there in known.items() if is_there] or list(known)[:1]
    if len(there) > 1:
        raise DataError(
            f"holds several subsets: {', '.join(there)}",
            where=data.path,
            hint=f"choose one, for example --subset {there[0]}",
        )
    return there[0]
