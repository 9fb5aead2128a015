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

from sodkit.data.formats.assemble import Collected, assemble, polygons_from_lists
from sodkit.data.formats.coco import Coordinate, Id, Side
from sodkit.data.formats.folders import IMAGE_SUFFIXES, image_folders
from sodkit.data.formats.source import decode_json, read_bytes, safe_name
from sodkit.data.images import image_size
from sodkit.data.records import Annotations, BoolArray, Category, ImageRecord, IntArray, Polygons
from sodkit.errors import DataError

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
    annotations: list[_Annotation]
    images: list[_Image] | _Image | None = None
    categories: list[_Category] | None = None
    filename: str | None = None
    width: Side | None = None
    height: Side | None = None
    ori_id: str | Id | None = None
    x_start: Coordinate | None = None
    y_start: Coordinate | None = None


def read(path: Path, *, images: Path | None = None) -> Annotations:
    """Read a folder of SODA-A files.

    Args:
        path: the folder with one JSON an image.
        images: the folder of the images; needed only where a file does not state name and size
            (None: looked for beside ``path``).

    Raises:
        DataError: anything missing or wrong, with the file and the JSON path.
    """
    names = sorted(path.glob("*.json"))
    if not names:
        raise DataError("no JSON file in this folder", where=path)
    folders = image_folders(path) if images is None else [images]
    ids = _numbers([name.stem for name in names])
    parts = [_read_file(name, ids[name.stem], folders) for name in names]
    counts = np.array([len(part.category_ids) for part in parts], np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)])

    def place(row: int) -> str:
        index = int(np.searchsorted(starts, row, side="right")) - 1
        return f"{names[index]}: annotations[{row - int(starts[index])}]"

    total = int(counts.sum())
    records = _with_origins([part.image for part in parts])
    return assemble(
        Collected(
            path=path,
            images=records,
            categories=_categories(names, [part.categories for part in parts]),
            ids=np.arange(1, total + 1, dtype=np.int64),
            image_ids=np.repeat(np.array([record.id for record in records], np.int64), counts),
            category_ids=np.concatenate([part.category_ids for part in parts]),
            xywh=np.full((total, 4), np.nan),
            area=np.full(total, np.nan),
            ignore=np.concatenate([part.ignore for part in parts]),
            polygons=Polygons.join([part.polygons for part in parts]),
            place=place,
        )
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What one file holds; ``image.ori_id`` is not set yet."""

    image: ImageRecord
    categories: tuple[Category, ...]
    category_ids: IntArray
    ignore: BoolArray
    polygons: Polygons


def _read_file(path: Path, number: int, folders: list[Path]) -> _Part:
    content = decode_json(read_bytes(path), _File, path)
    named = content.categories
    categories = (
        tuple(Category(i, name) for i, name in enumerate(CLASSES))
        if named is None
        else tuple(Category(item.id, item.name) for item in named)
    )
    items = content.annotations
    return _Part(
        image=_record(content, path, number, folders),
        categories=categories,
        category_ids=np.array(
            [_category_id(item, i, path) for i, item in enumerate(items)], np.int64
        ),
        ignore=np.array([bool(item.ignore) for item in items], np.bool_),
        polygons=polygons_from_lists([item.poly for item in items]),
    )


def _category_id(item: _Annotation, index: int, path: Path) -> int:
    value = item.cat_id if item.category_id is None else item.category_id
    if value is None:
        raise DataError("category_id is missing", where=f"{path}: annotations[{index}]")
    return value


def _record(content: _File, path: Path, number: int, folders: list[Path]) -> ImageRecord:
    stated = content.images[0] if isinstance(content.images, list) and content.images else None
    if isinstance(content.images, list) and len(content.images) > 1:
        raise DataError(
            f"{len(content.images)} images in one file, SODA-A has one",
            where=f"{path}: images",
            hint="is this COCO? then give the file itself, not its folder",
        )
    image = content.images if isinstance(content.images, _Image) else stated or _Image()
    name = content.filename or image.file_name or _find_image(path, folders)
    name = safe_name(name, str(path))
    width, height = content.width or image.width, content.height or image.height
    if width is None or height is None:
        file = next((folder / name for folder in folders if (folder / name).is_file()), None)
        width, height = image_size(file or folders[0] / name)
    if content.ori_id is None:
        return ImageRecord(number, name, width, height)
    if content.x_start is None or content.y_start is None:
        raise DataError("a patch without x_start or y_start", where=path)
    origin = f"{content.ori_id}{PurePosixPath(name).suffix}"
    start = (content.x_start, content.y_start)
    return ImageRecord(number, name, width, height, None, origin, start)


def _find_image(path: Path, folders: list[Path]) -> str:
    """Return the name of the image that belongs to an annotation file."""
    for folder in folders:
        for suffix in IMAGE_SUFFIXES:
            if (folder / (path.stem + suffix)).is_file():
                return path.stem + suffix
    raise DataError(
        "states no image, and there is none of its name",
        where=path,
        hint="looked in " + ", ".join(str(folder) for folder in folders),
    )


def _numbers(stems: list[str]) -> dict[str, int]:
    """Return ids for the stems of files: their numbers if all are different numbers."""
    numeric = all(stem.isascii() and stem.isdigit() and len(stem) < 18 for stem in stems)
    if numeric and len({int(stem) for stem in stems}) == len(stems):
        return {stem: int(stem) for stem in stems}
    return {stem: index for index, stem in enumerate(stems, start=1)}


def _with_origins(records: list[ImageRecord]) -> list[ImageRecord]:
    """Number the original images of patches as those would be numbered when read themselves."""
    stems = [PurePosixPath(record.ori_file_name or "").stem for record in records]
    ids = _numbers(sorted({stem for stem in stems if stem}))
    return [
        record if not stem else replace(record, ori_id=ids[stem])
        for record, stem in zip(records, stems, strict=True)
    ]


def _categories(names: list[Path], parts: list[tuple[Category, ...]]) -> list[Category]:
    """Join the categories of all files.

    Raises:
        DataError: if two files give an id different names.
    """
    joined: dict[int, Category] = {}
    for name, part in zip(names, parts, strict=True):
        for category in part:
            known = joined.setdefault(category.id, category)
            if known.name != category.name:
                raise DataError(
                    f"category {category.id} is {category.name!r} here, elsewhere {known.name!r}",
                    where=f"{name}: categories",
                )
    return list(joined.values())
