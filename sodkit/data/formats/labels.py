"""What DOTA, YOLO and Pascal VOC share: label files, one an image, in a folder of their own.

Such files name or number the classes and do not know the ids of a data set: an image's id is the
number that its file is named by if that holds for all, otherwise its position in the sorted folder;
a class's id is its position in the list of classes. The list is ``classes.txt``, one name a line,
in the folder or beside it; without one it is what the format's module says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sodkit.data.formats.assemble import DIFFICULT, Collected, box_corners, polygons_from_lists
from sodkit.data.formats.class_lists import is_class_list, listed_classes
from sodkit.data.formats.folders import (
    IMAGE_FOLDERS,
    files_below,
    image_folders,
    images_and_twins,
    is_file,
    numbers,
    stem_of,
)
from sodkit.data.formats.reading import is_ignore
from sodkit.data.formats.source import (
    MissingImageError,
    Oddity,
    Report,
    closest,
)
from sodkit.data.images.decoding import image_size
from sodkit.data.naming import IMAGE_SUFFIXES, LOWER_SUFFIXES
from sodkit.data.records import CROWD, IGNORED, Category, ImageRecord
from sodkit.errors import DataError
from sodkit.geometry.rotated import obb_to_corners

IMAGE_IDS = ".images.json"
"""Ending of the file that ``predict`` writes beside predictions on plain images: their ids."""
_SUFFIX_BYTES = [suffix.encode() for suffix in LOWER_SUFFIXES]
_PROBED = 100
"""So many label files are looked up to find the folder of their images."""


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a label file: its line, class and box.

    Attributes:
        line: where it stands in the file, see ``LabelFile.at``.
        name: of its class.
        corners: x1 y1 x2 y2 ... of an oriented object.
        xywh: of an upright one.
        ignore: neither right nor wrong to detect.
        crowd: COCO's ``iscrowd``.
        difficult: the file says so; ``Reading.difficult`` decides what it means.
        obb: cx, cy, w, h, angle as stated; then there are no ``corners``.
    """

    line: int
    name: str
    corners: tuple[float, ...] | None = None
    xywh: tuple[float, float, float, float] | None = None
    ignore: bool = False
    crowd: bool = False
    difficult: bool = False
    obb: tuple[float, float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A label file and its image; without an image, what the label file is named by.

    ``at`` is what a message puts behind the path to name the place of a row.
    """

    path: Path
    stem: str
    image: ImageRecord | None
    rows: Sequence[Row]
    at: str = ":{}"

    def place(self, row: Row) -> str:
        """Return where a row stands, for messages."""
        return f"{self.path}{self.at.format(row.line)}"


def label_files(path: Path, suffix: str) -> list[tuple[str, Path]]:
    """Return (stem, file) of all label files in a folder and below, sorted; or of one file.

    Raises:
        DataError: if there is none.
    """
    if path.is_file():
        return [(path.stem, path)]
    found = [
        (label_stem(file.relative_to(path).as_posix()), file)
        for file in sorted(files_below(path, (suffix,)))
        if is_label_name(file.name) and not is_output(file) and not is_list(file)
    ]
    if not found:
        raise DataError(f"no {suffix} file in this folder", where=path)
    return found


def label_stem(name: str) -> str:
    """Return the stem of the image that a label file is of: ``x`` for ``x.txt``, ``x.jpg.txt``."""
    stem = stem_of(name)
    return stem_of(stem) if stem.endswith(IMAGE_SUFFIXES) else stem


def is_list(path: Path) -> bool:
    """Return whether a text named by a subset is a list of images: its first line names one."""
    if path.stem.casefold() not in {"train", "val", "valid", "test", "trainval"}:
        return False
    try:
        with path.open("rb") as file:
            return file.readline().strip().lower().endswith(tuple(_SUFFIX_BYTES))
    except OSError:
        return False


def is_label_name(name: str) -> bool:
    """Return whether a file of a label's suffix may be one: no class list, no README."""
    return not is_class_list(name) and not name.lower().startswith("readme")


def is_output(path: Path) -> bool:
    """Return whether a file beside images is none of their labels but what ``predict`` wrote.

    These are predictions in JSON, a list where annotations are an object, and ``*.images.json``.
    """
    if path.suffix.lower() != ".json":
        return False
    if path.name.endswith(IMAGE_IDS):
        return True
    try:
        with path.open("rb") as file:
            return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class ImageFinder:
    """The images that label files go with.

    Attributes:
        folder: theirs.
        names: by stem.
        twins: names left out, since another image has their stem.
    """

    folder: Path
    names: dict[str, str]
    twins: Sequence[str] = ()

    @classmethod
    def beside(cls, path: Path, stems: Sequence[str], images: Path | None) -> ImageFinder:
        """Find the folder of the images.

        Args:
            path: the folder of the label files.
            stems: of the label files.
            images: the folder, if it is known.
        """
        folders = image_folders(path) if images is None else [images]
        for folder in folders:
            for stem in stems[:_PROBED]:
                if any(is_file(folder / (stem + suffix)) for suffix in IMAGE_SUFFIXES):
                    return cls(folder, *images_and_twins(folder))
        return cls(folders[0], {}) if images is None else cls(images, *images_and_twins(images))

    def record(self, stem: str, number: int, label: Path) -> ImageRecord:
        """Return the image of a stem, its size read from the file.

        Raises:
            MissingImageError: if there is none.
            DataError: if it is broken.
        """
        name = self.names.get(stem)
        if name is None:
            usual = ", ".join(IMAGE_FOLDERS[:2])
            more = "" if self.names else f", and in {usual} ... beside and above it"
            raise MissingImageError(
                "there is no image of this name, and it does not state an image's size",
                stem=stem,
                where=label,
                hint=f"looked in {self.folder}{more}; --images names another folder",
            )
        return ImageRecord(number, name, *image_size(self.folder / name))


ImageOf = Callable[[ImageFinder, str, int], ImageRecord]
Reader = Callable[[Path, Report], tuple[list[Row], ImageOf]]
"""Reads a label file: its objects, and how to find its image (the folder, the stem, the id)."""


def collect_labels(
    path: Path,
    suffix: str,
    read: Reader,
    presets: Sequence[tuple[str, ...]],
    images: Path | None,
    report: Report,
    *,
    sure: bool = False,
    only: Collection[str] | None = None,
) -> Collected:
    """Read a folder of label files, or one.

    Args:
        path: the folder or file.
        suffix: of the label files.
        read: reads one.
        presets: lists of classes, see ``class_names``.
        images: the folder of the images (None: looked for beside ``path``).
        report: called with everything wrong; objects of a missing image are kept.
        sure: the form alone shows that the data are of the set whose classes ``presets`` are.
        only: stems of the images to read; None: all.

    Raises:
        DataError: if there is no label file, or ``report`` raises it.
    """
    found = label_files(path, suffix)
    if only is not None:
        found = [(stem, file) for stem, file in found if stem in only]
        note_unlabelled(len(only), len(only) - len(found), path, report)
    stems = [stem for stem, _ in found]
    finder, ids = ImageFinder.beside(path, stems, images), numbers(stems)
    note_twins(finder.folder, finder.twins, report)
    files = []
    for stem, file in found:
        record = None
        try:
            rows, image = read(file, report)
            record = image(finder, stem, ids[stem])
        except MissingImageError as error:
            report(error, "missing")
        except DataError as error:
            report(error, "form")
            continue
        files.append(LabelFile(file, stem, record, rows))
    if path.is_dir() and only is None:
        note_unlabelled(len(finder.names), len(finder.names.keys() - set(stems)), path, report)
    return gather(path, files, class_names(path, files, presets, sure=sure), report)


def class_names(
    path: Path,
    files: Sequence[LabelFile],
    presets: Sequence[tuple[str, ...]],
    *,
    sure: bool = False,
) -> tuple[str, ...]:
    """Return the list of classes.

    It is that of a class list (see ``listed_classes``) in the folder or beside it; else the first
    of ``presets`` that has all names of the label files and of which half occur (``sure``: any
    number); else those names, sorted; both without those of ignore regions.

    Fewer names are no sign of a data set: driving data have Pascal VOC's car, person, bus.

    Raises:
        DataError: if a class list is not text or names a class twice.
    """
    folder = path.parent if path.is_file() else path
    for place in (folder, folder.parent):
        listed = listed_classes(place)
        if listed is not None:
            return listed
    found = {row.name for file in files for row in file.rows if not is_ignore(row.name)}
    for preset in presets:
        if found <= set(preset) and (sure or 2 * len(found) >= len(preset)):
            return preset
    return tuple(sorted(found))


def note_twins(folder: Path, twins: Sequence[str], report: Report) -> None:
    """Report an ``Oddity`` on images left out since another has their name and another suffix.

    Args:
        folder: of the images.
        twins: the names of those left out.
        report: called with it.
    """
    if twins:
        what = f"images left out, since others differ from them by their suffix only: {len(twins)}"
        hint = f"first: {twins[0]}; their labels would be the same file"
        report(Oddity(what, where=folder, hint=hint), "twins")


def note_unlabelled(images: int, without: int, looked: Path, report: Report) -> None:
    """Report images without a label file: all of them is an error, more than a tenth an ``Oddity``.

    Args:
        images: number of images.
        without: how many have no label file.
        looked: where label files were looked for.
        report: called with what is wrong.
    """
    if images and without == images:
        what = f"none of the {images} images has a label file"
        hint = f"label files are looked for in {looked}, by the names of the images"
        report(DataError(what, where=looked, hint=hint), "no-labels")
    elif without * 10 > images:
        what = f"{without} of {images} images ({without / images:.0%}) have no label file"
        report(Oddity(what, where=looked, hint="is that meant?"), "no-labels")


def gather(
    path: Path, files: Sequence[LabelFile], classes: Sequence[str], report: Report
) -> Collected:
    """Bring label files together.

    Args:
        path: file or folder, for messages.
        files: what they hold.
        classes: names, a class's id is its position.
        report: called with objects of unknown class; they are left out.
    """
    index = {name: number for number, name in enumerate(classes)}
    rows: list[tuple[LabelFile, Row]] = []
    image_ids, category_ids = [], []
    for number, file in enumerate(files):
        image_id = -1 - number if file.image is None else file.image.id
        for row in file.rows:
            if is_ignore(row.name):
                index.setdefault(row.name, len(index))
            category = index.get(row.name)
            if category is None:
                _report_unknown(row, file, classes, report)
                continue
            rows.append((file, row))
            image_ids.append(image_id)
            category_ids.append(category)
    boxes = np.array([row.xywh or (np.nan,) * 4 for _, row in rows], np.float64).reshape(-1, 4)
    obb = np.array([row.obb or (np.nan,) * 5 for _, row in rows], np.float64).reshape(-1, 5)
    oriented = any(row.xywh is None for _, row in rows)
    flags = [
        row.ignore * IGNORED | row.crowd * CROWD | row.difficult * DIFFICULT for _, row in rows
    ]
    return Collected(
        path=path,
        images=list(_images(files)),
        categories=[Category(number, name) for name, number in index.items()],
        ids=np.arange(1, len(rows) + 1, dtype=np.int64),
        image_ids=np.array(image_ids, np.int64),
        category_ids=np.array(category_ids, np.int64),
        xywh=boxes,
        area=np.full(len(rows), np.nan),
        flags=np.array(flags, np.uint8),
        polygons=polygons_from_lists([_corners(row) for _, row in rows]) if oriented else None,
        place=lambda row: rows[row][0].place(rows[row][1]),
        obb=obb if any(row.obb is not None for _, row in rows) else None,
        image_place=lambda index: str(files[index].path),
    )


def _images(files: Sequence[LabelFile]) -> Iterator[ImageRecord]:
    for number, file in enumerate(files):
        if file.image is None:
            yield guessed_image(-1 - number, file.stem, [_corners(row) for row in file.rows])
        else:
            yield file.image


def guessed_image(number: int, stem: str, corners: Iterable[Sequence[float]]) -> ImageRecord:
    """Return what stands for a missing image: as large as its objects want it."""
    values = [value for row in corners for value in row if math.isfinite(value)]
    side = min(math.ceil(max([1.0, *values])), 1_000_000)
    return ImageRecord(number, stem, side, side)


def _corners(row: Row) -> Sequence[float]:
    if row.corners is not None:
        return row.corners
    if row.obb is not None:
        corners = obb_to_corners(np.array([row.obb], np.float64))
    else:
        corners = box_corners(np.array([row.xywh], np.float64))
    return [float(value) for value in corners.ravel()]


def _report_unknown(row: Row, file: LabelFile, classes: Sequence[str], report: Report) -> None:
    like = closest(row.name, classes)
    known = "known: " + ", ".join(classes[:20])
    hint = known if like is None else f"did you mean {like!r}? {known}"
    error = DataError(f"unknown class {row.name!r}", where=file.place(row), hint=hint)
    report(error, "unknown-class")
