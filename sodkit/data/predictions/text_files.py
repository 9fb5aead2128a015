"""Predictions in text files: DOTA's tasks, YOLO's labels with scores, VisDrone's and KITTI's.

| format | a file | a line |
|---|---|---|
| DOTA Task 1 | ``Task1_CLASS.txt`` | ``image score x1 y1 x2 y2 x3 y3 x4 y4`` |
| DOTA Task 2 | ``Task2_CLASS.txt`` | ``image score left top right bottom`` |
| YOLO | ``IMAGE.txt`` | ``class cx cy w h score``, or corners; shares of width and height |
| VisDrone | ``IMAGE.txt`` | ``left,top,width,height,score,class,truncation,occlusion`` |
| KITTI | ``IMAGE.txt`` | its label with the class's name, 14 numbers, then the score |

YOLO's class is an index into the list of classes beside the predictions (``classes.txt``,
``*.names``, ``data.yaml``), else into the annotations' classes; VisDrone's one of its own numbers.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from sodkit.data.formats.class_lists import CLASS_FILES, listed_classes
from sodkit.data.formats.source import number
from sodkit.data.formats.yolo_yaml import find_yaml, read_yaml
from sodkit.data.naming import listed
from sodkit.data.predictions.columns import Columns, numbered
from sodkit.data.predictions.npz_columns import SMALL_UNPACKED, UNPACKED_RATIO
from sodkit.errors import DataError

VISDRONE = (
    "ignored regions",
    "pedestrian",
    "people",
    "bicycle",
    "car",
    "van",
    "truck",
    "tricycle",
    "awning-tricycle",
    "bus",
    "motor",
    "others",
)
"""VisDrone's classes by number."""

_TASK = re.compile(r"(Task[12])_(.+)\.txt", re.IGNORECASE)
_TASK_NUMBERS = {"task1": 8, "task2": 4}
_NO_PREDICTIONS = (*CLASS_FILES, "notes.txt", "readme.txt")


@dataclass(slots=True)
class _Rows:
    """Predictions as they are read: a row of each list."""

    images: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    def add(self, image: str, name: str, score: float, box: list[float], where: str) -> None:
        self.images.append(image)
        self.classes.append(name)
        self.scores.append(score)
        self.boxes.append(box)
        self.places.append(where)

    def columns(self, kind: str, *, files: Sequence[str] = (), shares: bool = False) -> Columns:
        """Return the rows as columns; ``files``: images without a row, too."""
        image_id, image_names = numbered([*self.images, *files])
        category_id, class_names = numbered(self.classes)
        width = 8 if kind == "poly" else 4
        return Columns(
            image_id[: len(self.images)], category_id, np.array(self.scores, np.float64),
            np.array(self.boxes, np.float64).reshape(-1, width), kind, image_names, class_names,
            shares, self.places,
        )  # fmt: skip


def read_text_files(
    path: Path,
    classes: Sequence[str],
    *,
    oriented: bool,
    say: Callable[[str], None] = lambda message: None,
) -> Columns:
    """Read predictions from text files.

    Args:
        path: a folder (or one with a subfolder ``labels``), a ``.zip``, or one text file.
        classes: names of the annotations' classes in their order: what YOLO's numbers mean, if no
            list of classes lies beside the predictions.
        oriented: YOLO's corners become oriented boxes; else the boxes around them.
        say: called with a sentence about what YOLO's numbers of classes are taken for.

    Raises:
        DataError: there is no text file, or a line is of another form; its file and line are named.
    """
    files, own = _texts(path)
    tasks = [name for name, _ in files if _TASK.fullmatch(name)]
    if tasks:
        return _tasks(path, files)
    lines = [
        (name, place, line) for name, text in files for place, line in _lines(path, name, text)
    ]
    stems = [PurePosixPath(name).stem for name, _ in files]
    if lines and "," in lines[0][2]:
        return _visdrone(lines, stems)
    if lines and len(lines[0][2].split()) == 16:
        return _kitti(lines, stems)
    _refuse_named(lines)
    known = own or _Classes(tuple(classes), "the annotations")
    say(f"{path}: class numbers count from 0 in the order of {known.source}: {listed(known.names)}")
    return _yolo(lines, stems, known, oriented=oriented)


@dataclass(frozen=True, slots=True)
class _Classes:
    """Names of classes in the order of their numbers, and where they stand."""

    names: tuple[str, ...]
    source: str

    def name(self, number: int, place: str) -> str:
        """Return the name of a number; ``place``: where it stands."""
        if number < len(self.names):
            return self.names[number]
        raise DataError(
            f"class {number}, but {self.source} has {len(self.names)} classes, counted from 0",
            where=place,
            hint="give the model's list of classes as classes.txt, one a line, or data.yaml beside "
            "the predictions",
        )


def _texts(path: Path) -> tuple[list[tuple[str, bytes]], _Classes | None]:
    """Return name and content of the text files, sorted by name, and the list of classes there."""
    if path.is_dir():
        place = path if _in_folder(path) else path / "labels"
        found = _in_folder(place)
        if not found:
            others = [p for ending in ("json", "npz") for p in sorted(path.glob(f"*.{ending}"))]
            raise DataError(
                "there are no predictions as text in this folder",
                where=path,
                hint=f"to read {others[0]}, name the file"
                if others
                else "it should hold Task1_CLASS.txt files (DOTA), or IMAGE.txt files with scores"
                " (YOLO, VisDrone)",
            )
        return [(file.name, file.read_bytes()) for file in found], _classes_near(place)
    if path.suffix.lower() == ".txt":
        return [(path.name, path.read_bytes())], _classes_near(path.parent)
    files = _in_zip(path)
    lists = [file for file in files if file[0].lower() in CLASS_FILES]
    names = [line.strip() for name, text in lists[:1] for _, line in _lines(path, name, text)]
    own = _Classes(tuple(names), f"{path}/{lists[0][0]}") if lists else _classes_near(path.parent)
    return [file for file in files if file not in lists], own


def _classes_near(folder: Path) -> _Classes | None:
    """Return the classes that a file in a folder or above it lists, None if there is none."""
    for place in (folder, folder.absolute().parent):
        names = listed_classes(place)
        if names is not None:
            return _Classes(names, f"the list of classes in {place}")
        yaml = find_yaml(place)
        if yaml is not None:
            return _Classes(read_yaml(yaml).names, str(yaml))
    return None


def _in_folder(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if _is_text(file.name) and file.is_file())


def _is_text(name: str, lists: Sequence[str] = ()) -> bool:
    """Return whether a name is that of predictions, or among ``lists``."""
    low = name.lower()
    is_text = low.endswith(".txt") and not name.startswith(".")
    return is_text and (low not in _NO_PREDICTIONS or low in lists)


def _in_zip(path: Path) -> list[tuple[str, bytes]]:
    """Return the text files of an archive, which may come from anywhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [
                info
                for info in archive.infolist()
                if _is_text(PurePosixPath(info.filename).name, CLASS_FILES)
                and "__MACOSX" not in info.filename
            ]
            size = sum(info.file_size for info in infos)
            if size > max(SMALL_UNPACKED, UNPACKED_RATIO * path.stat().st_size):
                raise DataError(
                    f"its files would take {size / 1e6:,.0f} MB unpacked, too much for an archive "
                    "of its size",
                    where=path,
                    hint="is it damaged? unpacked into a folder it is read without this limit",
                )
            found = [(PurePosixPath(info.filename).name, archive.read(info)) for info in infos]
    except (DataError, MemoryError, OSError):
        raise
    except Exception as error:  # zipfile promises no kind of exception
        raise DataError(f"not a readable .zip file: {error}", where=path) from error
    if not found:
        raise DataError(
            "the archive holds no text file",
            where=path,
            hint="it should hold Task1_CLASS.txt files (DOTA), or IMAGE.txt files with scores",
        )
    return sorted(found)


def _lines(path: Path, name: str, text: bytes) -> Iterator[tuple[str, str]]:
    """Yield (place, line) of the lines that are not empty."""
    place = str(path) if path.name == name else f"{path}/{name}"
    try:
        lines = text.removeprefix(b"\xef\xbb\xbf").decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError("is not UTF-8 text", where=place) from error
    for position, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{place}:{position}", line


def _tasks(path: Path, files: Sequence[tuple[str, bytes]]) -> Columns:
    """Read DOTA's files, one a class."""
    rows, widths = _Rows(), set()
    for name, text in files:
        match = _TASK.fullmatch(name)
        if match is None:
            raise DataError(
                f"is no file of DOTA's Task 1 or 2, as others here: {files[0][0]}",
                where=f"{path}/{name}",
                hint="remove it, or name it Task1_CLASS.txt",
            )
        width = _TASK_NUMBERS[match[1].lower()]
        widths.add(width)
        for place, line in _lines(path, name, text):
            image, *fields = line.split()
            values = _numbers(fields, place, f"image score and {width} numbers", (width + 1,))
            rows.add(image, match[2], values[0], values[1:], place)
    if len(widths) > 1:
        raise DataError(
            "holds Task 1 and Task 2 together", where=path, hint="give one of the two alone"
        )
    if widths == {8}:
        return rows.columns("poly")
    rows.boxes = [
        [left, top, right - left, bottom - top] for left, top, right, bottom in rows.boxes
    ]
    return rows.columns("bbox")


def _visdrone(lines: Sequence[tuple[str, str, str]], stems: Sequence[str]) -> Columns:
    rows = _Rows()
    for name, place, line in lines:
        fields = line.strip().rstrip(",").split(",")
        form = "left,top,width,height,score,class,truncation,occlusion (VisDrone)"
        values = _numbers(fields, place, form, (6, 8))
        kind = int(values[5])
        if kind != values[5] or not 0 <= kind < len(VISDRONE):
            raise DataError(
                f"{fields[5]} is no class of VisDrone", where=place, hint="they are 1 to 10"
            )
        rows.add(PurePosixPath(name).stem, VISDRONE[kind], values[4], values[:4], place)
    return rows.columns("bbox", files=stems)


def _kitti(lines: Sequence[tuple[str, str, str]], stems: Sequence[str]) -> Columns:
    rows = _Rows()
    for name, place, line in lines:
        kind, *fields = line.split()
        form = "type, 14 numbers and the score (KITTI)"
        values = _numbers(fields, place, form, (15,))
        left, top, right, bottom = values[3:7]
        box = [left, top, right - left, bottom - top]
        rows.add(PurePosixPath(name).stem, kind, values[14], box, place)
    return rows.columns("bbox", files=stems)


def _refuse_named(lines: Sequence[tuple[str, str, str]]) -> None:
    """Raise if the first line has a class by name before five numbers: these are no shares."""
    first = lines[0][2].split() if lines else []
    try:
        if len(first) == 6:
            number(first[0])
    except ValueError:
        raise DataError(
            f"has the class by name, {first[0]!r}, before five numbers: a score, and corners or "
            "width and height",
            where=lines[0][1],
            hint="which of the two is not certain: as Task2_CLASS.txt, lines of image score left "
            "top right bottom are read; as JSON, bbox is [x, y, width, height]",
        ) from None


def _yolo(
    lines: Sequence[tuple[str, str, str]],
    stems: Sequence[str],
    classes: _Classes,
    *,
    oriented: bool,
) -> Columns:
    rows = _Rows()
    for name, place, line in lines:
        kind, score, box = _yolo_row(line, place, oriented=oriented)
        rows.add(PurePosixPath(name).stem, classes.name(kind, place), score, box, place)
    return rows.columns("poly" if oriented else "bbox", files=stems, shares=True)


def _yolo_row(line: str, place: str, *, oriented: bool) -> tuple[int, float, list[float]]:
    """Return class, score and box, corners or left, top, width, height, as shares."""
    fields = line.split()
    if len(fields) == 5 or (len(fields) > 8 and len(fields) % 2 == 1):
        raise DataError(
            "there is no score behind the box",
            where=place,
            hint="are these labels? Predictions have scores: save_conf=True, --save-conf",
        )
    form = "class cx cy w h score (YOLO)"
    allowed = (10,) if oriented else (6, *range(8, len(fields) + 1, 2))
    kind, *values = _numbers(fields, place, form if not oriented else "class, 4 corners, score",
                             allowed)  # fmt: skip
    if kind != int(kind) or kind < 0:
        raise DataError(f"{fields[0]} is no class number, 0 or more", where=place)
    *box, score = values
    if any(abs(value) > _FARTHEST_SHARE for value in box):
        raise DataError(
            "the box is not in shares of the image's width and height",
            where=place,
            hint="YOLO's numbers are from 0 to 1; write predictions in px as JSON",
        )
    if len(box) == 4:
        cx, cy, w, h = box
        return int(kind), score, [cx - w / 2, cy - h / 2, w, h]
    if oriented:
        return int(kind), score, box
    left, top, right, bottom = min(box[::2]), min(box[1::2]), max(box[::2]), max(box[1::2])
    return int(kind), score, [left, top, right - left, bottom - top]


_FARTHEST_SHARE = 4.0
"""A box may reach out of its image, but not so far."""


def _numbers(fields: Sequence[str], place: str, form: str, counts: Sequence[int]) -> list[float]:
    """Return the numbers of a line.

    Raises:
        DataError: there are other than ``counts`` of them, or one is no finite number.
    """
    if len(fields) not in counts:
        raise DataError(
            f"has {len(fields)} values, expected {form}",
            where=place,
            hint="formats: Task1_CLASS.txt (DOTA); class cx cy w h score (YOLO); VisDrone's, with "
            "commas; KITTI's 16 values",
        )
    values = []
    for text in fields:
        try:
            values.append(number(text))
        except ValueError:
            raise DataError(f"{text!r} is no number, expected {form}", where=place) from None
    return values
