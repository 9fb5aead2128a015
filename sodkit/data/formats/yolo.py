"""YOLO and YOLO-OBB: a text file an image, coordinates as fractions of the image's size.

A line is ``class cx cy w h``, or ``class x1 y1 x2 y2 x3 y3 x4 y4`` of an oriented object. Where
objects have other numbers of corners, or boxes stand beside corners, the data are of segmentation:
the boxes around the polygons count, as in Ultralytics' training of detectors. Fractions may lie a
little outside 0..1, as boxes that hang out of a tile do. A file of images without a label file has
no objects.

Class names come from a YAML (``names``, a list or a mapping; ``path``; ``train``, ``val``,
``test``: folders of images, lists of them, or text files of image paths), else from
a list of names (``classes.txt``, ``*.names``, ...), else they are the numbers. What is read is one
subset of a YAML or of darknet's ``obj.data``, or a folder of label files. The labels of
``images/...`` are in ``labels/...``, or beside the images.

The class ``ignore`` holds ignore regions; there is no flag for an ignored object.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.class_lists import listed_classes
from sodkit.data.formats.folders import child, files_below, is_file, is_folder, numbers, stem_of
from sodkit.data.formats.labels import (
    ImageFinder,
    LabelFile,
    Row,
    gather,
    label_files,
    note_twins,
    note_unlabelled,
)
from sodkit.data.formats.reading import is_ignore
from sodkit.data.formats.source import MissingImageError, Report, number, quoted, read_lines, stop
from sodkit.data.formats.yolo_yaml import (
    YAML_SUFFIXES,
    YoloYaml,
    find_yaml,
    note_subsets,
    only_subset,
    read_yaml,
    subset_images,
)
from sodkit.data.images.decoding import image_size
from sodkit.data.records import ImageRecord, Note
from sodkit.errors import DataError

LABELS = "labels"
IMAGES = "images"

_OBB = 8
"""Coordinates of an oriented object."""

_LEAST, _MOST = -1.0, 2.0
"""Fractions beyond these are pixels by mistake."""


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


def _collect_yaml(
    data: YoloYaml, images: Path | None, report: Report, subset: str | None
) -> Collected:
    subset = only_subset(data) if subset is None else subset
    if subset not in data.subsets:
        known = ", ".join(data.subsets) or "none"
        raise DataError(f"names no images of the subset {subset!r} (has: {known})", where=data.path)
    root = (images or data.root).absolute()
    note_subsets(data, report)
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
            rows = [] if label is None else _rows(label, size, data.names, report, data.keypoints)
        except DataError as error:
            report(error, "form")
            continue
        files.append(LabelFile(label or root / name, stem_of(name), record, rows))
    if not names:
        report(DataError("holds no image", where=f"{data.path}: {subset}"), "form")
    else:
        note_unlabelled(len(names), without, finder.places(names[0])[0], report)
    gathered = _gathered(data.path, files, data.names, report)
    if not data.keypoints:
        return gathered
    note = Note("keypoints", f"{data.path.name} has kpt_shape: boxes are read, keypoints are not")
    return replace(gathered, notes=(*gathered.notes, note))


def _collect_labels(path: Path, images: Path | None, report: Report) -> Collected:
    labels = dict(label_files(path, ".txt"))
    names = _names_near(path)
    finder = ImageFinder.beside(path, list(labels), images)
    note_twins(finder.folder, finder.twins, report)
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
            if record is None:  # without its size no box has a place
                rows = []
        except DataError as error:
            report(error, "form")
            continue
        files.append(LabelFile(label, stem, record, rows))
    if path.is_dir():
        note_unlabelled(len(stems), len(stems) - len(labels), path, report)
    if names:
        return _gathered(path, files, names, report)
    used = {int(row.name) for file in files for row in file.rows}
    names = tuple(str(number) for number in range(max(used, default=-1) + 1))
    found = _gathered(path, files, names, report)
    return replace(found, notes=(*found.notes, _nameless(used))) if used else found


def _nameless(used: Collection[int]) -> Note:
    """Say that classes have no names; ``used``: their numbers."""
    what = "there is no list of class names (data.yaml, classes.txt, *.names): they are numbers"
    if min(used) == 1:
        what += "; these begin at 1, YOLO's at 0: class '0' has no object"
    return Note("no-names", what)


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


def _rows(
    path: Path, size: tuple[int, int], names: tuple[str, ...], report: Report, keypoints: int = 0
) -> list[Row]:
    """Read a file of labels; of lines of a box and ``keypoints`` more numbers the box."""
    rows = []
    for line, text in enumerate(read_lines(path), start=1):
        if not text.strip():
            continue
        if keypoints and len(tokens := text.split()) == 5 + keypoints:
            text = " ".join(tokens[:5])
        try:
            rows.append(_row(text, line, size, names))
        except ValueError as error:
            report(DataError(str(error), where=f"{path}:{line}"), "form")
        except LookupError as error:
            hint = f"the classes are 0 to {len(names) - 1}: {', '.join(names[:20])}"
            if text.split()[0] == str(len(names)):
                hint += "; do the numbers begin at 1? YOLO's begin at 0"
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
            raise ValueError(
                f"coordinate {position} is not a finite number: {quoted(token)}"
            ) from None
        if not _LEAST <= value <= _MOST:
            raise ValueError(
                f"{token} is no fraction of the image's size: are these pixels, or percent?"
            )
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
        raise ValueError(f"the class is not a number: {quoted(token)}") from None
    if value != int(value) or not 0 <= value < 100_000:
        raise ValueError(f"the class is not a number from 0 on: {quoted(token)}")
    if names and value >= len(names):
        raise LookupError(f"unknown class {int(value)}")
    return names[int(value)] if names else str(int(value))


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
