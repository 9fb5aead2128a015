"""COCO JSON, also SODA-D's: reading into ``Annotations`` and writing.

Read: ``images`` (id, file_name, width, height), ``annotations`` (image_id, category_id, bbox) and
``categories`` (id, name). Beyond plain COCO, if there:

- ``ignore`` or ``iscrowd`` of 1: neither right nor wrong to detect;
- the category ``ignore``: regions;
- ``poly`` (x1 y1 x2 y2 ...) or ``obb`` (cx, cy, w, h, angle): oriented objects;
- ``ori_id``, ``start_coord`` and ``ori_file_name`` of an image: it is a patch, ours or the
  SODA-D release's.

``area`` defaults to width times height, ``id`` to the position. Nothing else is demanded.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from sodkit.data.formats.assemble import Collected, box_corners, polygons_from_lists
from sodkit.data.formats.source import (
    Tell,
    decode_items,
    decode_json,
    read_bytes,
    safe_name,
    stop,
)
from sodkit.data.images import image_size
from sodkit.data.records import (
    BoolArray,
    Category,
    FloatArray,
    ImageRecord,
    IntArray,
    Polygons,
)
from sodkit.errors import DataError
from sodkit.geometry.rotated import obb_to_corners

Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Side = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Coordinate = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]

_CHUNK = 20_000
"""Annotations decoded at once: bounds the memory above the file and the columns."""


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


class _Annotation(msgspec.Struct, gc=False):
    image_id: Id
    category_id: Id
    id: Id | None = None
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None
    ignore: bool | int | None = None
    iscrowd: bool | int | None = None
    poly: list[float] | None = None
    obb: tuple[float, float, float, float, float] | None = None


class _File(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]


def collect(path: Path, *, images: Path | None = None, tell: Tell = stop) -> Collected:
    """Read a COCO file.

    Args:
        path: the JSON file.
        images: where ``file_name`` starts; needed only if the file does not state image sizes.
        tell: told of every image, category or annotation that is wrong; it is left out.

    Raises:
        DataError: anything missing or wrong, with the file and line or JSON path and id.
    """
    content = decode_json(read_bytes(path), _File, path)
    records = []
    for index, image in decode_items(content.images, _Image, path, "images", tell):
        try:
            records.append(_record(image, index, path, images))
        except DataError as error:
            tell(error, "form")
    categories = [
        Category(item.id, item.name)
        for _, item in decode_items(content.categories, _Category, path, "categories", tell)
    ]
    columns = _read_columns(content.annotations, path, tell)
    ids, positions = columns.ids, columns.positions

    def place(row: int) -> str:
        return f"{path}: annotations[{positions[row]}] (id {ids[row]})"

    source = Collected(
        path=path,
        images=records,
        categories=categories,
        ids=ids,
        image_ids=columns.image_ids,
        category_ids=columns.category_ids,
        xywh=columns.xywh,
        area=columns.area,
        ignore=columns.ignore,
        polygons=columns.polygons,
        place=place,
    )
    return _with_box(source, tell)


def _record(image: _Image, index: int, path: Path, folder: Path | None) -> ImageRecord:
    where = f"{path}: images[{index}] (id {image.id})"
    name = safe_name(image.file_name, where)
    if (image.ori_id is None) != (image.start_coord is None):
        missing = "ori_id" if image.ori_id is None else "start_coord"
        raise DataError(f"a patch without {missing}", where=where)
    width, height = image.width, image.height
    if width is None or height is None:
        if folder is None:
            raise DataError(
                "width or height is missing",
                where=where,
                hint="add them, or give the folder of the images: they are read from there",
            )
        width, height = image_size(folder / name)
    return ImageRecord(
        image.id, name, width, height, image.ori_id, image.ori_file_name, image.start_coord
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Columns of some or all annotations; a missing box is NaN, a missing polygon has no corner."""

    positions: IntArray
    ids: IntArray
    image_ids: IntArray
    category_ids: IntArray
    xywh: FloatArray
    area: FloatArray
    ignore: BoolArray
    polygons: Polygons | None


def _read_columns(raws: list[msgspec.Raw], path: Path, tell: Tell) -> _Columns:
    """Decode the annotations chunk by chunk."""
    parts = []
    for start in range(0, max(len(raws), 1), _CHUNK):
        chunk = raws[start : start + _CHUNK]
        parts.append(_columns(decode_items(chunk, _Annotation, path, "annotations", tell, start)))
    oriented = any(part.polygons is not None for part in parts)
    return _Columns(
        positions=np.concatenate([part.positions for part in parts]),
        ids=np.concatenate([part.ids for part in parts]),
        image_ids=np.concatenate([part.image_ids for part in parts]),
        category_ids=np.concatenate([part.category_ids for part in parts]),
        xywh=np.concatenate([part.xywh for part in parts]),
        area=np.concatenate([part.area for part in parts]),
        ignore=np.concatenate([part.ignore for part in parts]),
        polygons=_join_polygons(parts) if oriented else None,
    )


def _columns(chunk: list[tuple[int, _Annotation]]) -> _Columns:
    nan = float("nan")
    no_box = (nan, nan, nan, nan)
    items = [item for _, item in chunk]
    ids = [position + 1 if item.id is None else item.id for position, item in chunk]
    areas = [nan if item.area is None else item.area for item in items]
    boxes = [no_box if item.bbox is None else item.bbox for item in items]
    return _Columns(
        positions=np.array([position for position, _ in chunk], np.int64),
        ids=np.array(ids, np.int64),
        image_ids=np.array([item.image_id for item in items], np.int64),
        category_ids=np.array([item.category_id for item in items], np.int64),
        xywh=np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(boxes)).reshape(-1, 4),
        area=np.array(areas, np.float64),
        ignore=np.array([bool(item.ignore) or bool(item.iscrowd) for item in items], np.bool_),
        polygons=_polygons(items),
    )


def _polygons(chunk: list[_Annotation]) -> Polygons | None:
    """Return the corners of a chunk, None if it has only boxes.

    They are those of ``poly``, else of ``obb``, else of the box (NaN: has none).
    """
    if all(item.poly is None and item.obb is None for item in chunk):
        return None
    nan = float("nan")
    obb = np.array([item.obb or (nan,) * 5 for item in chunk], np.float64)
    boxes = np.array([item.bbox or (nan,) * 4 for item in chunk], np.float64)
    has_obb = np.array([item.obb is not None for item in chunk])
    corners = np.where(has_obb[:, None, None], obb_to_corners(obb), box_corners(boxes))
    others = corners.reshape(-1, 8).tolist()
    return polygons_from_lists(
        [
            other if item.poly is None else item.poly
            for item, other in zip(chunk, others, strict=True)
        ]
    )


def _join_polygons(parts: list[_Columns]) -> Polygons:
    """Join the corners of all chunks; where there are none, those of the boxes."""
    return Polygons.join(
        [
            Polygons(box_corners(part.xywh).reshape(-1, 2), np.arange(len(part.ids) + 1) * 4)
            if part.polygons is None
            else part.polygons
            for part in parts
        ]
    )


def _with_box(source: Collected, tell: Tell) -> Collected:
    """Tell of annotations with neither box nor polygon (JSON itself knows no NaN)."""
    absent = np.isnan(source.xywh[:, 0])
    if source.polygons is not None:
        absent &= np.isnan(source.polygons.points[source.polygons.offsets[:-1], 0])
    for row in np.flatnonzero(absent).tolist():
        tell(DataError("has neither bbox nor poly nor obb", where=source.place(row)), "form")
    return source.take(np.flatnonzero(~absent)) if absent.any() else source
