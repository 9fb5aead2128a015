"""YOLO and YOLO-OBB: a text file an image, coordinates as fractions of the image's size.

A line is ``class cx cy w h``, or ``class x1 y1 x2 y2 x3 y3 x4 y4`` of an oriented object (other
numbers of corners are polygons). Fractions may lie a little outside 0..1, as boxes that hang out of
a tile do. A file of images without a label file has no objects.

Class names come from a YAML (``names``, a list or a mapping; ``path``; ``train``, ``val``,
``test``: folders of images, lists of them, or text files of image paths), else from
a list of names (``classes.txt``, ``*.names``, ...), else they are the numbers. What is read is one
subset of a YAML or of darknet's ``obj.data``, or a folder of label files. The labels of
``images/...`` are in ``labels/...``, or beside the images.

The class ``ignore`` holds ignore regions; there is no flag for an ignored object.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sodkit.data.formats.assemble import IGNORE_NAME, Collected
from sodkit.data.formats.folders import (
    child,
    files_below,
    images_below,
    is_file,
    is_folder,
    numbers,
    stem_of,
)
from sodkit.data.formats.labels import (
    ImageFinder,
    LabelFile,
    Row,
    gather,
    label_files,
    listed_classes,
    note_unlabelled,
    read_class_list,
)
from sodkit.data.formats.source import (
    MissingImageError,
    Note,
    Report,
    is_foreign,
    number,
    read_bytes,
    read_lines,
    safe_name,
    stop,
)
from sodkit.data.images.decoding import image_size
from sodkit.data.records import ImageRecord
from sodkit.errors import DataError
from sodkit.yaml_text import YamlError, parse_yaml

LABELS = "labels"
IMAGES = "images"
YAML = "data.yaml"
DARKNET = ".data"
YAML_SUFFIXES = (".yaml", ".yml", DARKNET)
SUBSETS = ("train", "val", "test")

_LEAST, _MOST = -1.0, 2.0
"""Fractions beyond these are pixels by mistake."""


@dataclass(frozen=True, slots=True)
class YoloYaml:
    """A data set's YAML: the folder that its paths start at, class names and images by subset."""

    path: Path
    root: Path
    names: tuple[str, ...]
    subsets: dict[str, tuple[str, ...]]


def collect(
    path: Path, *, images: Path | None = None, report: Report = stop, subset: str | None = None
) -> Collected:
    """Read a subset of a YOLO data set: by a YAML, ``obj.data``, their folder, or label files.

    Args:
        path: the file or folder.
        images: where file names start: the root of the YAML's paths, or the folder of the images
            (None: the YAML says, or looked for beside ``path``).
        report: called with every line that is wrong, and every label file without image.
        subset: key of the YAML; None: its only one.

    Raises:
        DataError: anything missing or wrong, with the file and line; or several subsets.
    """
    found = path if path.suffix.lower() in YAML_SUFFIXES else find_yaml(path)
    if found is not None:
        data, labels = read_yaml(found), child(found.parent, LABELS)
        # Images that lie elsewhere than the YAML says: found by the names of the labels.
        known = _any_there(data, images) if images is not None else bool(data.subsets)
        if known or not labels.is_dir():
            return _collect_yaml(data, images, report, subset)
        path = labels / subset if subset is not None and is_folder(labels / subset) else labels
    if child(path, LABELS).is_dir():
        path = child(path, LABELS)
    return _collect_labels(path, images, report)


def _any_there(data: YoloYaml, root: Path) -> bool:
    return any(
        is_file(root / path) or is_folder(root / path)
        for paths in data.subsets.values()
        for path in paths
    )


def subsets_there(data: YoloYaml) -> dict[str, bool]:
    """Return whether each subset's images are there, of those that name the same only the first."""
    first = {paths: key for key, paths in reversed(data.subsets.items())}
    root = data.root.absolute()
    return {
        key: all(_place(value, root) is not None for value in paths)
        for key, paths in data.subsets.items()
        if first[paths] == key
    }


def _only_subset(data: YoloYaml) -> str:
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


def _collect_yaml(
    data: YoloYaml, images: Path | None, report: Report, subset: str | None
) -> Collected:
    subset = _only_subset(data) if subset is None else subset
    if subset not in data.subsets:
        known = ", ".join(data.subsets) or "none"
        raise DataError(f"names no images of the subset {subset!r} (has: {known})", where=data.path)
    root = (images or data.root).absolute()
    found = subset_images(data, subset, root, report)
    names = list(dict.fromkeys(image.relative_to(root).as_posix() for image in found))
    ids = numbers([stem_of(name) for name in names])
    finder, files, without = LabelFinder(root), [], 0
    for name in names:
        label = finder.find(name)
        without += label is None
        try:
            size = image_size(root / name)
            record = ImageRecord(ids[stem_of(name)], name, *size)
            rows = [] if label is None else _rows(label, size, data.names, report)
        except DataError as error:
            report(error, "form")
            continue
        files.append(LabelFile(label or root / name, stem_of(name), record, rows))
    if not names:
        report(DataError("holds no image", where=f"{data.path}: {subset}"), "form")
    else:
        note_unlabelled(len(names), without, finder.places(names[0])[0], report)
    return gather(data.path, files, _without_ignore(data.names), report)


def _collect_labels(path: Path, images: Path | None, report: Report) -> Collected:
    labels = dict(label_files(path, ".txt"))
    names = _names_near(path)
    finder = ImageFinder.beside(path, list(labels), images)
    stems = sorted({*labels, *(finder.names if path.is_dir() else ())})
    ids = numbers(stems)
    files = []
    for stem in stems:
        label = labels.get(stem, path / f"{stem}.txt")
        record, size = None, (1, 1)
        try:
            try:
                record = finder.record(stem, ids[stem], label)
                size = record.width, record.height
            except MissingImageError as error:
                report(error, "missing")
            rows = _rows(label, size, names, report) if stem in labels else []
        except DataError as error:
            report(error, "form")
            continue
        files.append(LabelFile(label, stem, record, rows))
    if path.is_dir():
        note_unlabelled(len(stems), len(stems) - len(labels), path, report)
    if not names:
        most = max((int(row.name) for file in files for row in file.rows), default=-1)
        names = tuple(str(number) for number in range(most + 1))
    return gather(path, files, _without_ignore(names), report)


def _without_ignore(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names without a last one that is ``ignore``: ids of the others must not move."""
    return names[:-1] if names and names[-1].casefold() == IGNORE_NAME else names


def _rows(path: Path, size: tuple[int, int], names: tuple[str, ...], report: Report) -> list[Row]:
    rows = []
    for line, text in enumerate(read_lines(path), start=1):
        if not text.strip():
            continue
        try:
            rows.append(_row(text, line, size, names))
        except ValueError as error:
            report(DataError(str(error), where=f"{path}:{line}"), "form")
        except LookupError as error:
            hint = f"the classes are 0 to {len(names) - 1}: {', '.join(names[:20])}"
            what = DataError(str(error.args[0]), where=f"{path}:{line}", hint=hint)
            report(what, "unknown-class")
    return rows


def _row(text: str, line: int, size: tuple[int, int], names: tuple[str, ...]) -> Row:
    """Read a line.

    Raises:
        ValueError: if it is none of YOLO's, saying why.
        LookupError: if the class is unknown.
    """
    tokens = text.split()
    if len(tokens) != 5 and (len(tokens) < 7 or len(tokens) % 2 == 0):
        raise ValueError(
            f"the line has {len(tokens)} values: YOLO has 5 (class, box), "
            "YOLO-OBB 9 (class, four corners)"
        )
    name = _class_name(tokens[0], names)
    values = []
    for position, token in enumerate(tokens[1:], start=1):
        try:
            value = number(token)
        except ValueError:
            raise ValueError(f"coordinate {position} is not a finite number: {token!r}") from None
        if not _LEAST <= value <= _MOST:
            raise ValueError(f"{token} is no fraction of the image's size: are these pixels?")
        values.append(value)
    width, height = size
    if len(values) == 4:
        x, y, w, h = values
        box = ((x - w / 2) * width, (y - h / 2) * height, w * width, h * height)
        return Row(line, name, None, box, False)
    corners = tuple(
        value * (height if position % 2 else width) for position, value in enumerate(values)
    )
    return Row(line, name, corners, None, False)


def _class_name(token: str, names: tuple[str, ...]) -> str:
    """Return the name of a class; without names, its number."""
    try:
        value = number(token)
    except ValueError:
        raise ValueError(f"the class is not a number: {token!r}") from None
    if value != int(value) or not 0 <= value < 100_000:
        raise ValueError(f"the class is not a number from 0 on: {token!r}")
    if names and value >= len(names):
        raise LookupError(f"unknown class {int(value)}")
    return names[int(value)] if names else str(int(value))


def find_yaml(folder: Path) -> Path | None:
    """Return the YAML or ``obj.data`` in a folder that names classes, None if there is none."""
    if not folder.is_dir():
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


def _names_near(path: Path) -> tuple[str, ...]:
    """Return the class names for a folder of label files: from a YAML or list in it or above."""
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    for place in (folder, *list(folder.parents)[:3]):
        listed = listed_classes(place)
        if listed is not None:
            return listed
        found = find_yaml(place)
        if found is not None:
            return read_yaml(found).names
    return ()


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
    return YoloYaml(path, root, _names(content, path), subsets)


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
    with ``../``, and other machines have other folders above. ``report`` is called with a ``Note``.

    Raises:
        DataError: if a folder or list is missing or leads out of the data set.
    """
    for value in data.subsets[subset]:
        where = f"{data.path}: {subset}"
        place = _place(value, root)
        if place is None:
            raise _not_there(value, root, where)
        if is_folder(place):
            yield from (place / name for name in sorted(images_below(place).values()))
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
            report(Note(what, where=place, hint=f"{hint}, below {root}"), "moved")


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
    parts = [part for part in parts if part not in {"", "."}]
    for start in range(len(parts)):
        place = root
        if ".." in parts[start:]:
            continue
        for part in parts[start:]:
            place = child(place, part)
        if is_file(place) or is_folder(place):
            return place
    return None


class LabelFinder:
    """Finds the label files of images: in ``labels`` for ``images``, or beside them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listings: dict[Path, dict[str, Path]] = {}

    def places(self, name: str) -> list[Path]:
        """Return the folders where the label file of an image may be, likeliest first."""
        parts = Path(name).parent.parts
        spots = [i for i, part in enumerate(parts) if part.casefold() == IMAGES]
        found = []
        if spots:
            above = self._root.joinpath(*parts[: spots[-1]])
            found.append(child(above, LABELS).joinpath(*parts[spots[-1] + 1 :]))
        if self._root.name.casefold() == IMAGES:
            found.append(child(self._root.parent, LABELS).joinpath(*parts))
        return [*found, self._root.joinpath(*parts)]

    def find(self, name: str) -> Path | None:
        """Return the label file of an image, ``x.txt`` or ``x.jpg.txt``, None if it has none."""
        last = Path(name).name
        for folder in self.places(name):
            if folder not in self._listings:
                files = files_below(folder, (".txt",), below=False)
                self._listings[folder] = {f.stem: f for f in files}
            known = self._listings[folder]
            label = known.get(stem_of(last)) or known.get(last)
            if label is not None:
                return label
        return None


def is_label_line(text: str) -> bool:
    """Return whether a line is of YOLO: 5 numbers, or 7, 9, 11 ..., the first a whole one."""
    tokens = text.split()
    if len(tokens) != 5 and (len(tokens) < 7 or len(tokens) % 2 == 0):
        return False
    try:
        values = [float(token) for token in tokens]
    except ValueError:
        return False
    return math.isfinite(values[0]) and values[0] == int(values[0])
