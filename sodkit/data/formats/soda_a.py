"""SODA-A's folders: one JSON an image, with oriented objects as polygons.

``annotations`` of each file hold ``poly`` (x1 y1 x2 y2 ...) and ``category_id``; ``categories``
names them, 9 being ``ignore``; ``images`` states file name and size. What ``images`` lacks is found
in the images folder. The release's patches are read too: they state ``filename``, ``ori_id``,
``x_start``, ``y_start`` and have ``cat_id`` in place of ``category_id``.

An image's id is the number that its file is named by if that holds for all files, otherwise its
position in the sorted folder; so the ids of patches' originals are those of the originals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np

from sodkit.arrays import BoolArray, IntArray
from sodkit.data.formats.assemble import IGNORE_NAME, Collected, box_corners, polygons_from_lists
from sodkit.data.formats.coco import Coordinate, Side
from sodkit.data.formats.folders import image_folders, is_file, numbers, stem_of
from sodkit.data.formats.labels import guessed_image, label_files
from sodkit.data.formats.resolve import note_renamed
from sodkit.data.formats.source import (
    MissingImageError,
    Report,
    decode_json,
    decode_list,
    leads_elsewhere,
    read_bytes,
    stated_name,
    stop,
)
from sodkit.data.images.decoding import image_size
from sodkit.data.naming import IMAGE_SUFFIXES
from sodkit.data.records import IGNORED, REGION, Annotations, Category, ImageRecord, Polygons
from sodkit.errors import DataError
from sodkit.files import write_bytes
from sodkit.json_text import Id

_NAMED = 5
"""So many folders are named in a message."""

CLASSES = (
    "airplane",
    "helicopter",
    "small-vehicle",
    "large-vehicle",
    "ship",
    "container",
    "storage-tank",
    "swimming-pool",
    "windmill",
    "ignore",
)
"""SODA-A's categories 0..9, for files that do not name them."""


_FORM = "a SODA-A file is an object with annotations, a list of one image's objects"
_ROW_FORM = 'an annotation is {"poly": [x1, y1, x2, y2, x3, y3, x4, y4], "category_id": 1}'


class _Image(msgspec.Struct, gc=False):
    file_name: str | None = None
    width: Side | None = None
    height: Side | None = None


class _Category(msgspec.Struct, gc=False):
    id: Id
    name: str


class _Annotation(msgspec.Struct, gc=False):
    poly: list[float]
    category_id: Id | None = None
    cat_id: Id | None = None
    ignore: bool | int | None = None


class _File(msgspec.Struct):
    annotations: list[msgspec.Raw]
    images: list[_Image] | _Image | None = None
    categories: list[_Category] | None = None
    filename: str | None = None
    width: Side | None = None
    height: Side | None = None
    ori_id: str | Id | None = None
    x_start: Coordinate | None = None
    y_start: Coordinate | None = None


def collect(path: Path, *, images: Path | None = None, report: Report = stop) -> Collected:
    """Read a folder of SODA-A files.

    Args:
        path: the folder with one JSON an image.
        images: the folder of the images; needed only where a file does not state name and size
            (None: looked for beside ``path``).
        report: called with every file or annotation that is wrong; it is left out.

    Raises:
        DataError: anything missing or wrong, with the file and the JSON path.
    """
    found = label_files(path, ".json")
    folders = image_folders(path) if images is None else [images]
    ids = numbers([stem for stem, _ in found])
    parts = []
    for stem, file in found:
        try:
            parts.append(_read_file(file, stem, ids[stem], folders, report))
        except DataError as error:
            report(error, "form")
    names = [(part.stated, part.image.file_name) for part in parts]
    note_renamed(
        [(old, new) for old, new in names if old and old.replace("\\", "/") != new], path, report
    )
    counts = np.array([len(part.category_ids) for part in parts], np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def place(row: int) -> str:
        part = parts[int(np.searchsorted(starts, row, side="right")) - 1]
        first = int(starts[np.searchsorted(starts, row, side="right") - 1])
        return f"{part.path}: annotations[{part.positions[row - first]}]"

    total = int(counts.sum())
    records = _with_origins([part.image for part in parts])
    none = np.zeros(0, np.int64)
    return Collected(
        path=path,
        images=records,
        categories=_categories(parts, report),
        ids=np.arange(1, total + 1, dtype=np.int64),
        image_ids=np.repeat(np.array([record.id for record in records], np.int64), counts),
        category_ids=np.concatenate([none, *(part.category_ids for part in parts)]),
        xywh=np.full((total, 4), np.nan),
        area=np.full(total, np.nan),
        flags=np.concatenate([none != 0, *(part.ignore for part in parts)]) * IGNORED,
        polygons=Polygons.join([part.polygons for part in parts]),
        place=place,
        image_place=lambda index: str(parts[index].path),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What one file holds; ``stated``: its image's name; ``image.ori_id`` is not set yet."""

    path: Path
    image: ImageRecord
    stated: str | None
    categories: tuple[Category, ...]
    positions: list[int]
    category_ids: IntArray
    ignore: BoolArray
    polygons: Polygons


def _read_file(path: Path, stem: str, number: int, folders: list[Path], report: Report) -> _Part:
    content = decode_json(read_bytes(path), _File, path, form=_FORM)
    named = content.categories
    categories = (
        tuple(Category(i, name) for i, name in enumerate(CLASSES))
        if named is None
        else tuple(Category(item.id, item.name) for item in named)
    )
    items = []
    for position, item in decode_list(
        content.annotations, _Annotation, path, "annotations", report, form=_ROW_FORM
    ):
        if item.category_id is None and item.cat_id is None:
            where = f"{path}: annotations[{position}]"
            what = "the field 'category_id' is missing"
            report(DataError(what, where=where, hint=_ROW_FORM), "form")
        else:
            items.append((position, item))
    stated = content.filename or _image_of(content, path).file_name
    try:
        record = _record(content, path, stem, number, folders)
    except MissingImageError as error:
        report(error, "missing")
        stated = None
        record = guessed_image(-number, stem, [item.poly for _, item in items])
    return _Part(
        path=path,
        image=record,
        stated=stated,
        categories=categories,
        positions=[position for position, _ in items],
        category_ids=np.array([_category_id(item) for _, item in items], np.int64),
        ignore=np.array([bool(item.ignore) for _, item in items], np.bool_),
        polygons=polygons_from_lists([item.poly for _, item in items]),
    )


def _category_id(item: _Annotation) -> int:
    value = item.cat_id if item.category_id is None else item.category_id
    return -1 if value is None else value


def _image_of(content: _File, path: Path) -> _Image:
    """Return what ``images`` says of the one image."""
    if not isinstance(content.images, list):
        return content.images or _Image()
    if len(content.images) > 1:
        raise DataError(
            f"{len(content.images)} images in one file, SODA-A has one",
            where=f"{path}: images",
            hint="is this COCO? then give the file itself, not its folder",
        )
    return content.images[0] if content.images else _Image()


def _record(content: _File, path: Path, stem: str, number: int, folders: list[Path]) -> ImageRecord:
    image = _image_of(content, path)
    name = content.filename or image.file_name or _find_image(path, stem, folders)
    name = stated_name(name, str(path))
    width, height = content.width or image.width, content.height or image.height
    if width is None or height is None:
        there = () if leads_elsewhere(name) else folders
        if not any(is_file(folder / name) for folder in there):
            name = _find_image(path, stem, folders)
        file = next(folder / name for folder in folders if is_file(folder / name))
        width, height = image_size(file)
    if content.ori_id is None:
        return ImageRecord(number, name, width, height)
    if content.x_start is None or content.y_start is None:
        raise DataError("a patch without x_start or y_start", where=path)
    origin = f"{content.ori_id}{PurePosixPath(name).suffix}"
    start = (content.x_start, content.y_start)
    return ImageRecord(number, name, width, height, None, origin, start)


def _find_image(path: Path, stem: str, folders: list[Path]) -> str:
    """Return the name of the image that belongs to an annotation file."""
    for folder in folders:
        for suffix in IMAGE_SUFFIXES:
            if is_file(folder / (stem + suffix)):
                return stem + suffix
    there = [str(folder) for folder in folders if folder.is_dir()] or [str(folders[0])]
    raise MissingImageError(
        "states no image that is there, and there is none of its name",
        stem=stem,
        where=path,
        hint=f"looked in {', '.join(there[:_NAMED])}; --images names another folder",
    )


def _with_origins(records: list[ImageRecord]) -> list[ImageRecord]:
    """Number the original images of patches as those would be numbered when read themselves."""
    stems = [PurePosixPath(record.ori_file_name or "").stem for record in records]
    ids = numbers(sorted({stem for stem in stems if stem}))
    return [
        record if not stem else replace(record, ori_id=ids[stem])
        for record, stem in zip(records, stems, strict=True)
    ]


def _categories(parts: list[_Part], report: Report) -> list[Category]:
    """Join the categories of all files, report ids to which two files give different names."""
    joined: dict[int, Category] = {}
    for part in parts:
        for category in part.categories:
            known = joined.setdefault(category.id, category)
            if known.name != category.name:
                what = f"category {category.id} is {category.name!r} here, elsewhere {known.name!r}"
                report(DataError(what, where=f"{part.path}: categories"), "class-names")
    return list(joined.values())


def write(folder: Path, annotations: Annotations) -> None:
    """Write ``folder/*.json``, one an image.

    Beyond the release's form: ``ignore`` 1 of ignored objects. A patch has the release's keys for
    patches. Upright boxes become their corners.
    """
    last = max((item.id for item in annotations.categories), default=-1)
    regions = [Category(last + 1, IGNORE_NAME)] if annotations.is_region.any() else []
    categories = [
        {"id": item.id, "name": item.name} for item in (*annotations.categories, *regions)
    ]
    ids = [*(item.id for item in annotations.categories), last + 1]
    for image, rows in zip(annotations.images, annotations.rows_by_image(), strict=True):
        content: dict[str, object] = {
            "images": [
                {"file_name": image.file_name, "width": image.width, "height": image.height}
            ],
            "annotations": [_as_json(annotations, row, ids) for row in rows.tolist()],
            "categories": categories,
        }
        if image.start is not None and image.ori_file_name is not None:
            content["ori_id"] = stem_of(image.ori_file_name)
            content["x_start"], content["y_start"] = image.start
        target = folder / f"{stem_of(image.file_name)}.json"
        write_bytes(target, msgspec.json.format(msgspec.json.encode(content), indent=0) + b"\n")


def _as_json(annotations: Annotations, row: int, ids: list[int]) -> dict[str, object]:
    label = int(annotations.labels[row])
    if annotations.polygons is None:
        corners = box_corners(annotations.xywh[row : row + 1])[0]
    else:
        corners = annotations.polygons[row]
    item: dict[str, object] = {
        "poly": corners.ravel().tolist(),
        "area": float(annotations.area[row]),
        "category_id": ids[label],
    }
    if annotations.ignore[row] and label != REGION:
        item["ignore"] = 1
    return item
