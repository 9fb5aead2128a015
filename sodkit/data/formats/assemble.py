"""From what a format's reader collected to checked ``Annotations``: the rules of all formats.

- The category named ``ignore`` is no class: its annotations become regions.
- Polygons make the data oriented: the box is the rectangle of least area around the corners. An
  object with other than four corners has no such box: it becomes an ignore region.
- A box must be finite, larger than nothing and touch its image; an area is not negative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.formats.source import Report, stop
from sodkit.data.records import IGNORED, REGION, Annotations, Category, ImageRecord, Polygons
from sodkit.errors import DataError
from sodkit.geometry.boxes import xywh_to_xyxy
from sodkit.geometry.rotated import canonical, polygons_to_obb

T = TypeVar("T")

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
        polygons: corners of every annotation, None if the source has none.
        flags: (N,) bits IGNORED and CROWD.
        place: returns for a row where it stands, for messages.
        obb: (N, 5) oriented boxes as stated, whose corners ``polygons`` are; None: not stated.
    """

    path: Path
    images: Sequence[ImageRecord]
    categories: Sequence[Category]
    ids: IntArray
    image_ids: IntArray
    category_ids: IntArray
    xywh: FloatArray
    area: FloatArray
    flags: npt.NDArray[np.uint8]
    polygons: Polygons | None
    place: Callable[[int], str]
    obb: FloatArray | None = None

    def take(self, rows: IntArray) -> Collected:
        """Select annotations by index, each keeping its place; images and categories stay."""
        place = self.place
        return replace(
            self,
            ids=self.ids[rows],
            image_ids=self.image_ids[rows],
            category_ids=self.category_ids[rows],
            xywh=self.xywh[rows],
            area=self.area[rows],
            polygons=None if self.polygons is None else self.polygons.take(rows),
            flags=self.flags[rows],
            obb=None if self.obb is None else self.obb[rows],
            place=lambda row: place(int(rows[row])),
        )


def assemble(source: Collected, report: Report = stop) -> Annotations:
    """Check what was collected and turn it into columns.

    Args:
        source: what a reader collected.
        report: called with everything wrong; what is concerned is then left out.

    Raises:
        DataError: by default, at the first thing wrong, naming its place and how many more there
            are.
    """
    source = _unique(source, report)
    source, labels, classes = _labelled(source, report)
    source, image_index, keep = _with_image(source, report)
    labels = labels[keep]
    if source.polygons is not None:
        source, keep = _screen(source, _corner_faults(source, source.polygons), report)
        labels, image_index = labels[keep], image_index[keep]
    source, keep = _screen(source, _box_faults(source, image_index), report)
    labels, image_index = labels[keep], image_index[keep]
    obb = None
    if source.polygons is not None:
        if source.obb is not None:
            obb = canonical(source.obb)
        else:
            obb = polygons_to_obb(source.polygons.points, source.polygons.offsets)
        flat = _Fault("no-size", np.asarray(obb[:, 3] <= 0), lambda _: "the polygon has no area")
        source, keep = _screen(source, [flat], report)
        labels, image_index, obb = labels[keep], image_index[keep], obb[keep]
    return _build(source, labels, image_index, classes, obb)


def _build(
    source: Collected,
    labels: IntArray,
    image_index: IntArray,
    classes: tuple[Category, ...],
    obb: FloatArray | None,
) -> Annotations:
    """Make columns of what has been checked."""
    xywh, polygons = source.xywh, source.polygons
    if polygons is None or obb is None:
        area = np.where(np.isnan(source.area), xywh[:, 2] * xywh[:, 3], source.area)
    else:
        labels = np.where(np.diff(polygons.offsets) == 4, labels, REGION)
        xywh = enclosing(polygons)
        area = obb[:, 2] * obb[:, 3]
    return Annotations(
        images=tuple(source.images),
        categories=classes,
        ids=source.ids,
        image_index=image_index,
        labels=labels,
        xywh=xywh,
        area=area,
        ignore=(source.flags != 0) | (labels == REGION),
        obb=obb,
        polygons=polygons,
        flags=source.flags | IGNORED * (labels == REGION),
    )


def is_ignore(name: str) -> bool:
    """Return whether a category of this name holds ignore regions."""
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


@dataclass(frozen=True, slots=True, eq=False)
class _Fault:
    """Something wrong with some rows (N,): its kind, and what a message says of a row."""

    kind: str
    bad: BoolArray
    what: Callable[[int], str]
    hint: Callable[[int], str] | None = None


def _screen(
    source: Collected, faults: Iterable[_Fault], report: Report
) -> tuple[Collected, IntArray]:
    """Report faults, of a row only the first; return the rows without any, and which they are."""
    sound = np.ones(len(source.ids), np.bool_)
    for fault in faults:
        rows = np.flatnonzero(fault.bad & sound)
        sound[rows] = False
        for row in rows.tolist():
            what = fault.what(row)
            if report is stop and len(rows) > 1:
                what += f" (and {len(rows) - 1} more like it)"
            hint = None if fault.hint is None else fault.hint(row)
            report(DataError(what, where=source.place(row), hint=hint), fault.kind)
    keep = np.flatnonzero(sound)
    return source if len(keep) == len(sound) else source.take(keep), keep


def _unique(source: Collected, report: Report) -> Collected:
    """Report ids and names that occur twice; the first of them counts."""
    images = _first(source.images, "image id", lambda item: item.id, source.path, "images", report)
    known = sorted(source.categories, key=lambda item: item.id)
    known = _first(known, "category id", lambda item: item.id, source.path, "categories", report)
    known = _first(
        known, "category name", lambda item: item.name, source.path, "categories", report
    )
    return replace(source, images=images, categories=known)


def _first(
    items: Sequence[T],
    what: str,
    key: Callable[[T], int | str],
    path: Path,
    at: str,
    report: Report,
) -> list[T]:
    """Return the first item of each key, report the others."""
    seen: dict[int | str, T] = {}
    for position, item in enumerate(items):
        value = key(item)
        if value in seen:
            where = f"{path}: {at}" + (f"[{position}]" if at == "images" else "")
            report(DataError(f"{what} {value} occurs twice", where=where), "duplicate-id")
        else:
            seen[value] = item
    return list(seen.values())


def _labelled(
    source: Collected, report: Report
) -> tuple[Collected, IntArray, tuple[Category, ...]]:
    """Return class indices (N,) and the classes in the order of their ids."""
    known = source.categories
    classes = tuple(item for item in known if not is_ignore(item.name))
    index = {category.id: label for label, category in enumerate(classes)}
    table = np.array([index.get(item.id, REGION) for item in known], np.int64)
    rows, found = _lookup(source.category_ids, [item.id for item in known])
    ids = source.category_ids
    listed = "known: " + ", ".join(f"{item.id} {item.name}" for item in known[:20])
    fault = _Fault(
        "unknown-class", ~found, lambda row: f"unknown category id {ids[row]}", lambda _: listed
    )
    source, keep = _screen(source, [fault], report)
    labels = table[rows[keep]] if len(table) else np.zeros(0, np.int64)
    return source, labels, classes


def _with_image(source: Collected, report: Report) -> tuple[Collected, IntArray, IntArray]:
    """Return the index (N,) of each annotation's image, and which annotations have one."""
    rows, found = _lookup(source.image_ids, [image.id for image in source.images])
    ids = source.image_ids
    fault = _Fault("unknown-image", ~found, lambda row: f"no image has the id {ids[row]}")
    source, keep = _screen(source, [fault], report)
    return source, rows[keep], keep


def _lookup(wanted: IntArray, keys: list[int]) -> tuple[IntArray, BoolArray]:
    """Return the position (N,) of each wanted id in ``keys``, and whether it is there."""
    table = np.array(keys, np.int64)
    if not len(table):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    order = np.argsort(table, kind="stable")
    spots = np.minimum(np.searchsorted(table[order], wanted), len(table) - 1)
    rows = order[spots]
    return rows, table[rows] == wanted


def _corner_faults(source: Collected, polygons: Polygons) -> Iterator[_Fault]:
    corners = np.diff(polygons.offsets)
    few = np.asarray(corners < 3)
    yield _Fault("bad-polygon", few, lambda _: "a polygon needs three corners or more")
    bad = ~np.isfinite(polygons.points).all(axis=1)
    rows = np.unique(np.searchsorted(polygons.offsets, np.flatnonzero(bad), side="right") - 1)
    infinite = np.zeros(len(corners), np.bool_)
    infinite[rows] = True
    yield _Fault("not-finite", infinite, lambda _: "the polygon is not finite")


def _box_faults(source: Collected, image_index: IntArray) -> Iterator[_Fault]:
    polygons = source.polygons
    xywh = source.xywh if polygons is None else enclosing(polygons)

    def text(row: int) -> str:
        return "[" + ", ".join(f"{value:g}" for value in xywh[row]) + "]"

    with np.errstate(over="ignore", invalid="ignore"):
        sound = np.isfinite(xywh).all(axis=1) & np.isfinite(xywh[:, 2] * xywh[:, 3])
    yield _Fault("not-finite", ~sound, lambda row: f"the box is not finite {text(row)}")
    empty = ~np.asarray(xywh[:, 2:].min(axis=1, initial=np.inf) > 0)
    what = "the box has no size (x, y, width, height):"
    yield _Fault("no-size", empty, lambda row: f"{what} {text(row)}")
    if polygons is None:  # otherwise the area is that of the polygon
        area = source.area
        yield _Fault("bad-area", area < 0, lambda row: f"the area is negative: {area[row]:g}")
    yield _outside(source, xywh, image_index)


def _outside(source: Collected, xywh: FloatArray, image_index: IntArray) -> _Fault:
    sizes = np.array([(image.width, image.height) for image in source.images], np.float64)
    limit = sizes.reshape(-1, 2)[image_index] if len(image_index) else np.zeros((0, 2))
    outside = (xywh[:, :2] >= limit).any(axis=1) | (xywh[:, :2] + xywh[:, 2:] <= 0).any(axis=1)

    def text(row: int) -> str:
        image = source.images[image_index[row]]
        return f"{image.file_name} ({image.width} x {image.height} px)"

    return _Fault(
        "outside",
        np.asarray(outside),
        lambda row: f"the box lies wholly outside its image {text(row)}",
    )


def enclosing(polygons: Polygons) -> FloatArray:
    """Return the upright boxes (N, 4) xywh around polygons of one corner or more."""
    if not len(polygons):
        return np.zeros((0, 4))
    starts = polygons.offsets[:-1]
    low = np.minimum.reduceat(polygons.points, starts, axis=0)
    high = np.maximum.reduceat(polygons.points, starts, axis=0)
    return np.concatenate([low, high - low], axis=1)
