"""COCO JSON, also SODA-D's: reading into ``Annotations`` and writing.

Read: ``images`` (id, file_name, width, height), ``annotations`` (image_id, category_id, bbox) and
``categories`` (id, name). Beyond plain COCO, if there:

- ``ignore`` or ``iscrowd`` of 1: not to be learnt; which of them a protocol of evaluation heeds is
  its own matter;
- the category ``ignore``: regions;
- ``poly`` (x1 y1 x2 y2 ...) or ``obb`` (cx, cy, w, h, angle): oriented objects;
- ``segmentation``, ``rbox`` or CVAT's rotation in place of these, see ``coco_columns``;
- ``ori_id``, ``start_coord`` and ``ori_file_name`` of an image: it is a patch, ours or the
  SODA-D release's.

A category without annotations that is the ``supercategory`` of others, and has none itself, is
Roboflow's root of the tree: no class. The broken boxes that AI-TOD and TinyPerson ship are left out
with a note.

``area`` defaults to width times height, ``id`` to the position. Nothing else is demanded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from sodkit.data.formats.assemble import Collected
from sodkit.data.formats.coco_columns import collect_annotations
from sodkit.data.formats.coco_ids import number_texts
from sodkit.data.formats.folders import image_folders, is_file
from sodkit.data.formats.reading import AS_STATED, Reading
from sodkit.data.formats.source import (
    Report,
    decode_json,
    decode_list,
    read_bytes,
    safe_name,
    stated_name,
    stop,
)
from sodkit.data.records import Category, ImageRecord, Note
from sodkit.errors import DataError, ImageError
from sodkit.json_text import Id, decode_items

Side = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Coordinate = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class _Image(msgspec.Struct, gc=False):
    id: Id
    file_name: str
    width: Side | None = None
    height: Side | None = None
    ori_id: Id | None = None
    ori_file_name: str | None = None
    start_coord: tuple[Coordinate, Coordinate] | None = None


class _Category(msgspec.Struct, gc=False):
    id: Id
    name: str
    supercategory: str | None = None


class _AnyId(msgspec.Struct, gc=False):
    id: Id | None = None


RELEASES = (
    ("AI-TOD", frozenset({"airplane", "bridge", "storage-tank", "ship", "swimming-pool", "vehicle",
                          "person", "wind-mill"})),
    ("TinyPerson", frozenset({"sea_person", "earth_person"})),
)  # fmt: skip
"""Releases that ship broken boxes, and the names of their classes."""

_FORM = "COCO JSON is an object with images, annotations and categories, each a list"
_IMAGE_FORM = 'an image is {"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}'
_CATEGORY_FORM = 'a category is {"id": 1, "name": "car"}'

_NONE = (None, "", "none", "None", "root")
"""A supercategory that is none."""


class _File(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: msgspec.Raw
    categories: list[msgspec.Raw]


def collect(
    path: Path,
    *,
    images: Path | None = None,
    report: Report = stop,
    reading: Reading = AS_STATED,
) -> Collected:
    """Read a COCO file.

    Args:
        path: the JSON file.
        images: where ``file_name`` starts, for sizes of images that are not stated; None: looked
            for in the usual folders.
        report: called with every image, category or annotation that is wrong; it is left out, and
            so are the annotations of a wrong image or category.
        reading: what the user decides.

    Raises:
        DataError: anything missing or wrong, with the file and line or JSON path and id.
    """
    content, notes = _numbered(decode_json(read_bytes(path), _File, path, form=_FORM))
    records, folders = [], image_folders(path) if images is None else [images]
    for index, image in decode_list(
        content.images, _Image, path, "images", report, lax=True, form=_IMAGE_FORM
    ):
        try:
            records.append(_record(image, index, path, folders))
        except DataError as error:
            report(error, "form")
    found = decode_list(
        content.categories, _Category, path, "categories", report, lax=True, form=_CATEGORY_FORM
    )
    categories = [item for _, item in found]
    source = collect_annotations(
        content.annotations,
        path,
        records,
        [Category(item.id, item.name) for item in categories],
        report,
        reading,
    )
    source = _without_wrong(source, content.images, content.categories)
    source = _without_roots(_with_box(source, report), categories)
    names = {item.name for item in categories}
    release = next((title for title, classes in RELEASES if classes == names), None)
    return replace(source, release=release, notes=(*notes, *source.notes))


def _numbered(content: _File) -> tuple[_File, tuple[Note, ...]]:
    """Return a file with numbers for ids that are texts, and notes on these."""
    notes: tuple[Note, ...] = ()
    for name, field in (("images", "image_id"), ("categories", "category_id")):
        found = number_texts(getattr(content, name), content.annotations, field)
        if found is not None:
            items, rows, more = found
            content = msgspec.structs.replace(content, **{name: items}, annotations=rows)
            notes += more
    return content, notes


def _without_wrong(
    source: Collected, images: list[msgspec.Raw], categories: list[msgspec.Raw]
) -> Collected:
    """Leave out annotations of images and categories that were reported: one error is enough."""
    keep = np.ones(len(source.ids), np.bool_)
    for raws, sound, ids in (
        (images, source.images, source.image_ids),
        (categories, source.categories, source.category_ids),
    ):
        if len(raws) > len(sound):
            wrong = _ids(raws) - {item.id for item in sound}
            keep &= ~np.isin(ids, np.array(sorted(wrong), np.int64))
    return source if keep.all() else source.take(np.flatnonzero(keep))


def _ids(raws: list[msgspec.Raw]) -> set[int]:
    """Return the ids of items, as far as they have one."""
    found = decode_items(raws, _AnyId, lambda position, text, error: None, lax=True)
    return {item.id for _, item in found if item.id is not None}


def _without_roots(source: Collected, categories: list[_Category]) -> Collected:
    """Leave out categories that only name a group of others."""
    used = set(np.unique(source.category_ids).tolist())
    above = {item.supercategory for item in categories if item.supercategory not in _NONE}
    roots = [
        item
        for item in categories
        if item.id not in used and item.supercategory in _NONE and item.name in above
    ]
    if not roots:
        return source
    ids = {item.id for item in roots}
    names = ", ".join(repr(item.name) for item in roots)
    what = f"{names}: the group of other categories, without annotations: no class"
    return replace(
        source,
        categories=[item for item in source.categories if item.id not in ids],
        notes=(*source.notes, Note("root-category", what)),
    )


def _record(image: _Image, index: int, path: Path, folders: Sequence[Path]) -> ImageRecord:
    where = f"{path}: images[{index}] (id {image.id})"
    known = image.width is not None and image.height is not None
    name = (stated_name if known else safe_name)(image.file_name, where)
    if (image.ori_id is None) != (image.start_coord is None):
        missing = "ori_id" if image.ori_id is None else "start_coord"
        raise DataError(f"a patch without {missing}", where=where)
    width, height = image.width, image.height
    if width is None or height is None:
        file = next((folder / name for folder in folders if is_file(folder / name)), None)
        if file is None:
            raise ImageError(
                f"width or height is missing, and no such image is there to read it from: {name}",
                where=where,
                hint="add them, or give the folder of the images by --images",
            )
        # Imported here: OpenCV takes longer to load than many a file to read.
        from sodkit.data.images.decoding import image_size

        width, height = image_size(file)
    return ImageRecord(
        image.id, name, width, height, image.ori_id, image.ori_file_name, image.start_coord
    )


def _with_box(source: Collected, report: Report) -> Collected:
    """Report annotations with neither box nor polygon (JSON itself knows no NaN)."""
    absent = np.isnan(source.xywh[:, 0])
    if source.polygons is not None:
        absent &= np.isnan(source.polygons.points[source.polygons.offsets[:-1], 0])
    what = "has neither bbox nor poly nor obb, nor a segmentation of polygons or run lengths"
    for row in np.flatnonzero(absent).tolist():
        report(DataError(what, where=source.place(row)), "form")
    return source.take(np.flatnonzero(~absent)) if absent.any() else source
