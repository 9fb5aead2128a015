"""YOLO and YOLO-OBB: a text file an image, coordinates as fractions of the image's size.

A line is ``class cx cy w h``, or ``class x1 y1 x2 y2 x3 y3 x4 y4`` of an oriented object. Where
objects have other numbers of corners, or boxes stand beside corners, the data are of segmentation:
the boxes around the polygons count, as in Ultralytics' training of detectors. Fractions may lie a
little outside 0..1, as boxes that hang out of a tile do. A file of images without a label file has
no objects.

Class names come from a YAML (``names``, a list or a mapping; ``path``; ``train``, ``val``,
``test``: folders of images, lists of them, or text files of image paths), else from
``classes.txt``, else they are the numbers. What is read is either the YAML or the folder that holds
it (all its subsets together), or a folder of label files (one subset). The labels of ``images/...``
are in ``labels/...``, or beside the images.

The class ``ignore`` holds ignore regions; there is no flag for an ignored object.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.folders import images_below, is_file, is_folder, numbers, stem_of
from sodkit.data.formats.labels import (
    CLASSES_FILE,
    ImageFinder,
    LabelFile,
    Row,
    gather,
    label_files,
    read_class_list,
)
from sodkit.data.formats.reading import is_ignore
from sodkit.data.formats.source import (
    MissingImageError,
    Report,
    number,
    read_bytes,
    read_lines,
    safe_name,
    stop,
)
from sodkit.data.images.decoding import image_size
from sodkit.data.records import ImageRecord, Note
from sodkit.errors import DataError
from sodkit.yaml_text import YamlError, parse_yaml

LABELS = "labels"
IMAGES = "images"
YAML = "data.yaml"
SUBSETS = ("train", "val", "test")

_OBB = 8
"""Coordinates of an oriented object."""

_LEAST, _MOST = -1.0, 2.0
"""Fractions beyond these are pixels by mistake."""


@dataclass(frozen=True, slots=True)
class YoloYaml:
    """A data set's YAML: the folder that its paths start at, class names and images by subset."""

    path: Path
    root: Path
    names: tuple[str, ...]
    subsets: dict[str, tuple[str, ...]]


def collect(path: Path, *, images: Path | None = None, report: Report = stop) -> Collected:
    """Read a YOLO data set: a YAML, the folder that holds one, or a folder of label files.

    Args:
        path: the file or folder.
        images: where file names start: the root of the YAML's paths, or the folder of the images
            (None: the YAML says, or looked for beside ``path``).
        report: called with every line that is wrong, and every label file without image.

    Raises:
        DataError: anything missing or wrong, with the file and line.
    """
    found = path if path.suffix.lower() in {".yaml", ".yml"} else find_yaml(path)
    if found is not None:
        data, labels = read_yaml(found), found.parent / LABELS
        # Images that lie elsewhere than the YAML says: found by the names of the labels.
        known = _any_there(data, images) if images is not None else bool(data.subsets)
        if known or not labels.is_dir():
            return _collect_yaml(data, images, report)
        path = labels
    if (path / LABELS).is_dir():
        path = path / LABELS
    return _collect_labels(path, images, report)


def _any_there(data: YoloYaml, root: Path) -> bool:
    return any(
        is_file(root / path) or is_folder(root / path)
        for paths in data.subsets.values()
        for path in paths
    )


def _collect_yaml(data: YoloYaml, images: Path | None, report: Report) -> Collected:
    if not data.subsets:
        raise DataError("names no images: train, val or test is missing", where=data.path)
    root = (images or data.root).absolute()
    names = []
    for subset in data.subsets:
        names += [image.relative_to(root).as_posix() for image in subset_images(data, subset, root)]
    names = list(dict.fromkeys(names))
    ids = numbers([stem_of(name) for name in names])
    files = []
    for name in names:
        label = _label_of(root, name)
        try:
            size = image_size(root / name)
            record = ImageRecord(ids[stem_of(name)], name, *size)
            rows = _rows(label, size, data.names, report) if is_file(label) else []
        except DataError as error:
            report(error, "form")
            continue
        files.append(LabelFile(label, stem_of(name), record, rows))
    return _gathered(data.path, files, data.names, report)


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
    if not names:
        most = max((int(row.name) for file in files for row in file.rows), default=-1)
        names = tuple(str(number) for number in range(most + 1))
    return _gathered(path, files, names, report)


def _gathered(
    path: Path, files: list[LabelFile], names: tuple[str, ...], report: Report
) -> Collected:
    """Bring label files together; polygons of segmentations become the boxes around them."""
    objects = [row for file in files for row in file.rows if not is_ignore(row.name)]
    drawn = sum(row.corners is not None for row in objects)
    if all(row.corners is not None and len(row.corners) == _OBB for row in objects):
        return gather(path, files, _without_ignore(names), report)
    files = [replace(file, rows=[_upright(row) for row in file.rows]) for file in files]
    found = gather(path, files, _without_ignore(names), report)
    what = (
        f"{drawn} of {len(objects)} objects are polygons, others are boxes or have other than four "
        "corners: the upright boxes around them count"
    )
    return replace(found, notes=(Note("polygons", what),) if drawn else ())


def _upright(row: Row) -> Row:
    """Return a polygon as the box around it."""
    if row.corners is None:
        return row
    x, y = row.corners[0::2], row.corners[1::2]
    box = (min(x), min(y), max(x) - min(x), max(y) - min(y))
    return replace(row, corners=None, xywh=box)


def _without_ignore(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names without a last one that is ``ignore``: ids of the others must not move."""
    return names[:-1] if names and is_ignore(names[-1]) else names


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
    """Return the YAML in a folder that names classes, None if there is none."""
    if not folder.is_dir():
        return None
    found = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    found.sort(key=lambda path: path.name != YAML)
    return next((path for path in found if _has_names(path)), None)


def _has_names(path: Path) -> bool:
    try:
        return any(line.startswith(("names:", "'names'", '"names"')) for line in read_lines(path))
    except DataError:
        return False


def _names_near(path: Path) -> tuple[str, ...]:
    """Return the class names for a folder of label files: from a YAML or list in it or above."""
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    for place in (folder, *list(folder.parents)[:3]):
        if (place / CLASSES_FILE).is_file():
            return read_class_list(place / CLASSES_FILE)
        found = find_yaml(place)
        if found is not None:
            return read_yaml(found).names
    return ()


def read_yaml(path: Path) -> YoloYaml:
    """Read a data set's YAML.

    Raises:
        DataError: if it is broken, or has no usable ``names``.
    """
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


def subset_images(data: YoloYaml, subset: str, root: Path) -> Iterator[Path]:
    """Yield the images of a subset, absolute, below ``root``.

    Raises:
        DataError: if a folder or list is missing or leads out of the data set.
    """
    for value in data.subsets[subset]:
        where = f"{data.path}: {subset}"
        place = _inside(value, root, where)
        if is_folder(place):
            yield from (place / name for name in sorted(images_below(place).values()))
        elif is_file(place):
            for line, text in enumerate(read_lines(place), start=1):
                if text.strip():
                    yield _listed(text.strip(), root, f"{place}:{line}")
        else:
            raise DataError(
                f"no such folder of images: {value}",
                where=where,
                hint=f"put the images into {place}, or say by --images where they are",
            )


def _listed(value: str, root: Path, where: str) -> Path:
    """Return the image that a line of a list names."""
    image = _inside(value, root, where)
    if image == root:
        raise DataError(f"{value!r} is the data set's folder, not an image", where=where)
    return image


def _inside(value: str, root: Path, where: str) -> Path:
    """Return a path below the root; ``../train/images`` of exported data means the root's own."""
    place = Path(os.path.normpath(root / value))
    if place.is_relative_to(root) and (is_file(place) or is_folder(place)):
        return place
    own = value
    while own.startswith("../"):
        own = own.removeprefix("../")
    if own != value or Path(value).is_absolute():
        return root / safe_name(own, where)
    return root / safe_name(os.path.normpath(value), where)


def _label_of(root: Path, name: str) -> Path:
    """Return the label file of an image: in ``labels`` for ``images``, or beside it."""
    parts = Path(stem_of(name) + ".txt").parts
    spots = [i for i, part in enumerate(parts[:-1]) if part == IMAGES]
    if spots:
        swapped = [*parts[: spots[-1]], LABELS, *parts[spots[-1] + 1 :]]
        if is_file(root.joinpath(*swapped)):
            return root.joinpath(*swapped)
    if root.name == IMAGES and is_file((root.parent / LABELS).joinpath(*parts)):
        return (root.parent / LABELS).joinpath(*parts)
    return root.joinpath(*parts)


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
