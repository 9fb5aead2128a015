"""From what a format's reader collected to checked ``Annotations``: the rules of all formats.

- A category named ``ignore``, or by a like name (``reading.IGNORE_NAMES``), is no class: its
  annotations become regions.
- Polygons make the data oriented: the box is the rectangle of least area around the corners. An
  object with other than four corners has no such box: it becomes an ignore region.
- A box must be finite, larger than nothing and touch its image.
- A stated area that cannot be that of the box is not used (``areas``).
- Angles are radians, unless ``Reading.angle`` says otherwise.
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
from sodkit.data.formats.areas import usable_areas
from sodkit.data.formats.doubtful import note_doubts
from sodkit.data.formats.reading import (
    ANGLE_UNITS,
    AS_STATED,
    Difficult,
    Reading,
    is_ignore,
)
from sodkit.data.formats.source import Report, stop
from sodkit.data.records import (
    IGNORED,
    REGION,
    Annotations,
    Category,
    ImageRecord,
    Note,
    Polygons,
)
from sodkit.errors import DataError
from sodkit.geometry.boxes import xywh_to_xyxy
from sodkit.geometry.rotated import MOST_RADIANS, canonical, obb_to_corners, polygons_to_obb

T = TypeVar("T")

IGNORE_NAME = "ignore"

DIFFICULT = np.uint8(4)
"""Bit of ``Collected.flags``: difficult, which ``Reading.difficult`` turns into ignored or not."""


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
        flags: (N,) bits IGNORED, CROWD and DIFFICULT.
        place: returns for a row where it stands, for messages.
        obb: (N, 5) oriented boxes as stated, NaN: not stated; ``polygons`` are their corners if
            the angles are radians. None: not stated at all.
        notes: how the source was read, where a user may expect otherwise.
        difficult: whether the source's version ignores difficult objects.
        release: the release whose known boxes without size are left out; None: they are errors.
        image_place: returns for the index of an image where it is named; None: in a JSON list.
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
    notes: tuple[Note, ...] = ()
    difficult: Difficult = "ignore"
    release: str | None = None
    image_place: Callable[[int], str] | None = None

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


def assemble(source: Collected, report: Report = stop, reading: Reading = AS_STATED) -> Annotations:
    """Check what was collected and turn it into columns.

    Args:
        source: what a reader collected.
        report: called with everything wrong; what is concerned is then left out.
        reading: what the user decides.

    Raises:
        DataError: by default, at the first thing wrong, naming its place and how many more there
            are.
    """
    source = _angles(_unique(source, report), report, reading)
    source, labels, classes = _labelled(source, report, reading)
    source, image_index, keep = _with_image(source, report)
    labels = labels[keep]
    if source.polygons is not None:
        source, keep = _screen(source, _corner_faults(source, source.polygons), report)
        labels, image_index = labels[keep], image_index[keep]
    source, keep = _without_broken(source, image_index)
    labels, image_index = labels[keep], image_index[keep]
    source, keep = _screen(source, _box_faults(source, image_index), report)
    labels, image_index = labels[keep], image_index[keep]
    xywh = source.xywh if source.polygons is None else enclosing(source.polygons)
    source = note_doubts(source, xywh, _limits(source, image_index), report)
    obb = None
    if source.polygons is not None:
        obb = _oriented(source, source.polygons)
        flat = _Fault("no-size", np.asarray(obb[:, 3] <= 0), lambda _: "the polygon has no area")
        source, keep = _screen(source, [flat], report)
        labels, image_index, obb = labels[keep], image_index[keep], obb[keep]
    return _build(_difficult(source, reading), labels, image_index, classes, obb, reading)


def _limits(source: Collected, image_index: IntArray) -> FloatArray:
    """Return (N, 2) the width and height of each annotation's image."""
    sizes = np.array([(image.width, image.height) for image in source.images], np.float64)
    return sizes.reshape(-1, 2)[image_index] if len(image_index) else np.zeros((0, 2))


def _oriented(source: Collected, polygons: Polygons) -> FloatArray:
    """Return (N, 5) the boxes as stated, else the rectangles around the polygons."""
    if source.obb is None:
        return polygons_to_obb(polygons.points, polygons.offsets)
    obb = source.obb.copy()
    absent = np.flatnonzero(np.isnan(obb[:, 0]))
    rest = polygons.take(absent)
    obb[absent] = polygons_to_obb(rest.points, rest.offsets)
    return canonical(obb)


def _build(
    source: Collected,
    labels: IntArray,
    image_index: IntArray,
    classes: tuple[Category, ...],
    obb: FloatArray | None,
    reading: Reading,
) -> Annotations:
    """Make columns of what has been checked."""
    xywh, polygons, notes = source.xywh, source.polygons, source.notes
    if polygons is None or obb is None:
        area, found = usable_areas(source.area, xywh, reading.area)
        notes += found
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
        notes=notes,
    )


def _angles(source: Collected, report: Report, reading: Reading) -> Collected:
    """Return the source with angles in radians; report those that are none, once."""
    if source.obb is None:
        return source
    obb, angle = source.obb.copy(), source.obb[:, 4]
    stated = np.flatnonzero(~np.isnan(obb[:, 0]))
    if reading.angle is not None and source.polygons is not None:
        obb[:, 4] *= ANGLE_UNITS[reading.angle]
        points, offsets = source.polygons.points.copy(), source.polygons.offsets
        points[offsets[stated][:, None] + np.arange(4)] = obb_to_corners(obb[stated])
        source = replace(source, obb=obb, polygons=Polygons(points, offsets))
    beyond = stated[np.abs(angle[stated]) > MOST_RADIANS]
    if not len(beyond) or reading.angle in ("degrees", "degrees-ccw"):
        return source
    first = int(beyond[0])
    what = (
        f"{len(beyond)} of {len(stated)} angles lie beyond two pi, such as {angle[first]:g}: "
        "these are degrees, and radians are expected"
    )
    hint = "--angle degrees reads them as degrees clockwise, --angle degrees-ccw the other way"
    report(DataError(what, where=source.place(first), hint=hint), "angle")
    return source.take(np.setdiff1d(np.arange(len(source.ids)), stated))


def _difficult(source: Collected, reading: Reading) -> Collected:
    """Return the source with difficult objects as ignored ones, or as any other."""
    hard = source.flags & DIFFICULT != 0
    flags = source.flags & ~DIFFICULT
    if (reading.difficult or source.difficult) == "ignore":
        return replace(source, flags=flags | IGNORED * hard)
    if reading.difficult is not None or not hard.any():
        return replace(source, flags=flags)
    what = f"{int(hard.sum())} difficult objects count like others, as in this version of the data"
    note = Note("difficult", f"{what}; --difficult ignore ignores them")
    return replace(source, flags=flags, notes=(*source.notes, note))


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
    hint: Callable[[int], str | None] | None = None


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
    source: Collected, report: Report, reading: Reading
) -> tuple[Collected, IntArray, tuple[Category, ...]]:
    """Return class indices (N,) and the classes in the order of their ids."""
    known = source.categories
    classes = tuple(item for item in known if not is_ignore(item.name, reading.classes))
    source = replace(source, notes=source.notes + _ignore_notes(source, reading))
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


def _ignore_notes(source: Collected, reading: Reading) -> tuple[Note, ...]:
    """Say which categories hold ignore regions by another name than our own."""
    names = [item for item in source.categories if is_ignore(item.name, reading.classes)]
    return tuple(
        Note(
            "ignore-name",
            f"the {int((source.category_ids == item.id).sum())} annotations of {item.name!r} are "
            "ignore regions, not a class (--classes takes them as one)",
        )
        for item in names
        if item.name.strip().casefold() != IGNORE_NAME
    )


def _without_broken(source: Collected, image_index: IntArray) -> tuple[Collected, IntArray]:
    """Return the source without the broken boxes that a known release ships, and which stay."""
    rows = np.arange(len(source.ids))
    if source.release is None:
        return source, rows
    xywh = source.xywh if source.polygons is None else enclosing(source.polygons)
    broken = ~(xywh[:, 2:].min(axis=1, initial=np.inf) > 0)
    broken |= _outside(source, xywh, image_index).bad
    if not broken.any():
        return source, rows
    first = source.place(int(np.flatnonzero(broken)[0]))
    what = (
        f"{int(broken.sum())} boxes without size or outside their image, which {source.release} "
        f"ships, are left out (first: {first})"
    )
    rows = np.flatnonzero(~broken)
    note = Note("broken-boxes", what)
    return replace(source.take(rows), notes=(*source.notes, note)), rows


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

    def swapped(row: int) -> str | None:
        return "are its corners swapped?" if (xywh[row, 2:] < 0).any() else None

    with np.errstate(over="ignore", invalid="ignore"):
        sound = np.isfinite(xywh).all(axis=1) & np.isfinite(xywh[:, 2] * xywh[:, 3])
    yield _Fault("not-finite", ~sound, lambda row: f"the box is not finite {text(row)}")
    empty = ~np.asarray(xywh[:, 2:].min(axis=1, initial=np.inf) > 0)
    what = "the box has no size (x, y, width, height):"
    yield _Fault("no-size", empty, lambda row: f"{what} {text(row)}", swapped)
    yield _outside(source, xywh, image_index)


def _outside(source: Collected, xywh: FloatArray, image_index: IntArray) -> _Fault:
    limit = _limits(source, image_index)
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
