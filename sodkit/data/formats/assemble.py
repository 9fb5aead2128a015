"""From what a format's reader collected to checked ``Annotations``: the rules of all formats.

- The category named ``ignore`` is no class: its annotations become regions.
- Polygons make the data oriented: the box is the rectangle of least area around the corners. An
  object with other than four corners has no such box: it becomes an ignore region.
- A box must be finite, larger than nothing and touch its image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from sodkit.data.records import (
    REGION,
    Annotations,
    BoolArray,
    Category,
    FloatArray,
    ImageRecord,
    IntArray,
    Polygons,
)
from sodkit.errors import DataError
from sodkit.geometry.boxes import xywh_to_xyxy
from sodkit.geometry.rotated import polygons_to_obb

IGNORE_NAME = "ignore"


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """The annotations of a source as read, ids instead of indices, nothing checked.

    Attributes:
        path: file or folder, for messages.
        images: the images.
        categories: the categories, ``ignore`` too.
        ids: (N,) annotation ids.
        image_ids: (N,) ids of the images.
        category_ids: (N,) ids of the categories.
        xywh: (N, 4) boxes; with polygons they are not looked at.
        area: (N,) px^2, NaN: not stated.
        ignore: (N,) flags.
        polygons: corners of every annotation, None if the source has none.
        place: tells for a row where it stands, for messages.
    """

    path: Path
    images: Sequence[ImageRecord]
    categories: Sequence[Category]
    ids: IntArray
    image_ids: IntArray
    category_ids: IntArray
    xywh: FloatArray
    area: FloatArray
    ignore: BoolArray
    polygons: Polygons | None
    place: Callable[[int], str]


def assemble(source: Collected) -> Annotations:
    """Check what was collected and turn it into columns.

    Raises:
        DataError: at the first thing wrong, naming its place and how many more there are.
    """
    _check_unique("image id", [image.id for image in source.images], source.path, "images")
    labels, classes = _labels(source)
    image_index = _image_index(source)
    if source.polygons is None:
        xywh, obb, area = source.xywh, None, source.area
        _check_boxes(source, xywh)
        area = np.where(np.isnan(area), xywh[:, 2] * xywh[:, 3], area)
    else:
        _check_corners(source, source.polygons)
        corners = np.diff(source.polygons.offsets)
        labels = np.where(corners == 4, labels, REGION)
        xywh = _enclosing(source.polygons)
        _check_boxes(source, xywh)
        obb = polygons_to_obb(source.polygons.points, source.polygons.offsets)
        _reject(source, np.asarray(obb[:, 3] <= 0), "the polygon has no area")
        area = obb[:, 2] * obb[:, 3]
    _check_inside(source, xywh, image_index)
    return Annotations(
        images=tuple(source.images),
        categories=classes,
        ids=source.ids,
        image_index=image_index,
        labels=labels,
        xywh=xywh,
        area=area,
        ignore=source.ignore | (labels == REGION),
        obb=obb,
        polygons=source.polygons,
    )


def is_ignore(name: str) -> bool:
    """Tell whether a category of this name holds ignore regions."""
    return name.strip().casefold() == IGNORE_NAME


def box_corners(xywh: FloatArray) -> FloatArray:
    """Return the corners (N, 4, 2) of upright boxes, clockwise from the top left."""
    left, top, right, bottom = xywh_to_xyxy(xywh).T
    points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return np.stack([np.stack(point, axis=1) for point in points], axis=1)


def polygons_from_lists(lists: Sequence[Sequence[float]]) -> Polygons:
    """Return polygons from x1 y1 x2 y2 ...; an odd or empty list becomes one corner: rejected."""
    whole = [points if points and len(points) % 2 == 0 else (0.0, 0.0) for points in lists]
    points = np.fromiter(chain.from_iterable(whole), np.float64).reshape(-1, 2)
    counts = np.array([len(points) // 2 for points in whole], np.int64)
    return Polygons(points, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _labels(source: Collected) -> tuple[IntArray, tuple[Category, ...]]:
    """Return class indices (N,) and the classes in the order of their ids."""
    known = sorted(source.categories, key=lambda category: category.id)
    _check_unique("category id", [category.id for category in known], source.path, "categories")
    _check_unique("category name", [item.name for item in known], source.path, "categories")
    classes = tuple(item for item in known if not is_ignore(item.name))
    index = {category.id: label for label, category in enumerate(classes)}
    table = np.array([index.get(item.id, REGION) for item in known], np.int64)
    rows, found = _lookup(source.category_ids, [item.id for item in known])
    _reject(
        source,
        ~found,
        "unknown category id",
        lambda row: str(source.category_ids[row]),
        hint="known: " + ", ".join(f"{item.id} {item.name}" for item in known[:20]),
    )
    return table[rows] if len(table) else np.zeros(0, np.int64), classes


def _image_index(source: Collected) -> IntArray:
    """Return the index (N,) of each annotation's image."""
    rows, found = _lookup(source.image_ids, [image.id for image in source.images])
    _reject(source, ~found, "no image has the id", lambda row: str(source.image_ids[row]))
    return rows


def _lookup(wanted: IntArray, keys: list[int]) -> tuple[IntArray, BoolArray]:
    """Return the position (N,) of each wanted id in ``keys``, and whether it is there."""
    table = np.array(keys, np.int64)
    if not len(table):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    order = np.argsort(table, kind="stable")
    spots = np.minimum(np.searchsorted(table[order], wanted), len(table) - 1)
    rows = order[spots]
    return rows, table[rows] == wanted


def _check_unique(what: str, values: Sequence[int | str], path: Path, key: str) -> None:
    seen: dict[int | str, int] = {}
    for index, value in enumerate(values):
        if value in seen:
            raise DataError(f"{what} {value} occurs twice", where=f"{path}: {key}")
        seen[value] = index


def _check_boxes(source: Collected, xywh: FloatArray) -> None:
    def text(row: int) -> str:
        return "[" + ", ".join(f"{value:g}" for value in xywh[row]) + "]"

    with np.errstate(over="ignore", invalid="ignore"):
        sound = np.isfinite(xywh).all(axis=1) & np.isfinite(xywh[:, 2] * xywh[:, 3])
    _reject(source, ~sound, "the box is not finite", text)
    empty = np.asarray(xywh[:, 2:].min(axis=1, initial=np.inf) <= 0)
    _reject(source, empty, "the box has no size (x, y, width, height):", text)


def _check_corners(source: Collected, polygons: Polygons) -> None:
    corners = np.diff(polygons.offsets)
    _reject(source, np.asarray(corners < 3), "a polygon needs three corners or more")
    bad = ~np.isfinite(polygons.points).all(axis=1)
    rows = np.unique(np.searchsorted(polygons.offsets, np.flatnonzero(bad), side="right") - 1)
    mask = np.zeros(len(corners), np.bool_)
    mask[rows] = True
    _reject(source, mask, "the polygon is not finite")


def _check_inside(source: Collected, xywh: FloatArray, image_index: IntArray) -> None:
    sizes = np.array([(image.width, image.height) for image in source.images], np.float64)
    limit = sizes.reshape(-1, 2)[image_index] if len(image_index) else np.zeros((0, 2))
    outside = (xywh[:, :2] >= limit).any(axis=1) | (xywh[:, :2] + xywh[:, 2:] <= 0).any(axis=1)

    def text(row: int) -> str:
        image = source.images[image_index[row]]
        return f"{image.file_name} ({image.width} x {image.height} px)"

    _reject(source, np.asarray(outside), "the box lies wholly outside its image", text)


def _reject(
    source: Collected,
    bad: BoolArray,
    what: str,
    detail: Callable[[int], str] | None = None,
    hint: str | None = None,
) -> None:
    """Raise for the first bad row, saying how many more there are."""
    rows = np.flatnonzero(bad)
    if not len(rows):
        return
    first = int(rows[0])
    message = what if detail is None else f"{what} {detail(first)}"
    if len(rows) > 1:
        message += f" (and {len(rows) - 1} more like it)"
    raise DataError(message, where=source.place(first), hint=hint)


def _enclosing(polygons: Polygons) -> FloatArray:
    """Return the upright boxes (N, 4) xywh around polygons."""
    if not len(polygons):
        return np.zeros((0, 4))
    starts = polygons.offsets[:-1]
    low = np.minimum.reduceat(polygons.points, starts, axis=0)
    high = np.maximum.reduceat(polygons.points, starts, axis=0)
    return np.concatenate([low, high - low], axis=1)
