"""What can be wrong with annotations beyond what reading refuses: ids, classes, shapes, doubles."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from sodkit.arrays import BoolArray, IntArray
from sodkit.data.checking.findings import Finding, Severity
from sodkit.data.checking.oddities import MIN_SIDE, crossing, crowds
from sodkit.data.formats.assemble import Collected, enclosing
from sodkit.data.formats.reading import is_ignore
from sodkit.data.formats.source import closest
from sodkit.data.records import CROWD

_RARE = 20
"""A class with so many times fewer objects than one of nearly its name may be a slip."""

_MANY = 0.8
"""More than this share of images without objects is worth a warning."""

_LIKE = 0.85
"""From this likeness on two names are nearly the same: large and small vehicle are not."""

_SLACK = 0.01
"""Boxes may reach out of their image by so many px: rounding of the labelling tool."""


def look_at(source: Collected, classes: Sequence[str] | None) -> Iterator[Finding]:
    """Yield what is wrong with annotations as read.

    Args:
        source: the annotations.
        classes: names that are right, None: not known.
    """
    yield from _ids(source)
    yield from _class_names(source, classes)
    yield from _file_names(source)
    yield from _shapes(source)
    yield from _borders(source)
    yield from _doubles(source)
    crowded = crowds(source.flags & CROWD != 0)
    if crowded is not None:
        yield Finding("warning", "iscrowd", crowded, f"{source.path}: annotations")


def empty_images(source: Collected) -> Iterator[Finding]:
    """Yield a finding if no image has an annotation, or more than ``_MANY`` have none."""
    images = len(source.images)
    without = images - len({image.id for image in source.images} & set(source.image_ids.tolist()))
    where = f"{source.path}: annotations" if source.path.is_file() else str(source.path)
    if images and without == images:
        yield Finding("error", "no-objects", f"none of the {images} images has an object", where)
    elif without > _MANY * images:
        what = f"{without} of {images} images ({without / images:.0%}) have no object"
        yield Finding("warning", "no-objects", what, where, "is that meant?")


def _rows(
    source: Collected, bad: BoolArray, severity: Severity, kind: str, what: Callable[[int], str]
) -> Iterator[Finding]:
    for row in np.flatnonzero(bad).tolist():
        yield Finding(severity, kind, what(row), source.place(row))


def _ids(source: Collected) -> Iterator[Finding]:
    ids = source.ids
    again = _repeated(ids)
    yield from _rows(
        source, again, "error", "duplicate-id", lambda row: f"annotation id {ids[row]} occurs twice"
    )


def _repeated(values: npt.NDArray[np.generic]) -> BoolArray:
    """Return (N,) true for every value that occurred before."""
    _, first, inverse = np.unique(values, axis=0, return_index=True, return_inverse=True)
    return np.asarray(first[inverse.reshape(-1)] != np.arange(len(values)))


def _class_names(source: Collected, classes: Sequence[str] | None) -> Iterator[Finding]:
    names = [item.name for item in source.categories]
    where = f"{source.path}: categories"
    if classes is not None:
        for name in names:
            if name not in classes and not is_ignore(name):
                like = closest(name, classes)
                hint = None if like is None else f"did you mean {like!r}?"
                yield Finding("error", "unknown-class", f"unknown class {name!r}", where, hint)
        return
    counts = Counter(source.category_ids.tolist())
    used = sorted((-counts[item.id], item.name) for item in source.categories if counts[item.id])
    for minus, name in used:
        # Only names of much used classes: a slip is rare. Comparing all with all could take hours.
        often = used[: bisect_right(used, _RARE * minus, key=lambda item: item[0])]
        like = closest(name, [other for _, other in often], _LIKE)
        if like is not None:
            what = f"class {name!r} ({-minus} objects) is named nearly as {like!r}"
            hint = "a slip of the pen? give the right names by --classes"
            yield Finding("warning", "class-name", what, where, hint)


def _file_names(source: Collected) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, image in enumerate(source.images):
        if image.file_name in seen:
            what = f"the file {image.file_name} is two images: ids {seen[image.file_name]}, "
            where = f"{source.path}: images[{index}] (id {image.id})"
            yield Finding("error", "duplicate-image", f"{what}{image.id}", where)
        seen.setdefault(image.file_name, image.id)


def _shapes(source: Collected) -> Iterator[Finding]:
    polygons = source.polygons
    if polygons is None:
        return
    corners = np.diff(polygons.offsets)
    many = (corners > 4) | (corners == 3)
    regions = [item.id for item in source.categories if is_ignore(item.name)]
    many &= ~np.isin(source.category_ids, regions)
    yield from _rows(
        source, many, "warning", "many-corners",
        lambda row: f"the polygon has {corners[row]} corners, not 4: it becomes an ignore region",
    )  # fmt: skip
    crossed = crossing(polygons)
    # An object's corners in no order that goes round it are not the box that was meant; a region,
    # or what becomes one, is only painted or flagged.
    objects = ~many & ~np.isin(source.category_ids, regions)
    what = "the polygon crosses itself: the rectangle around its corners counts"
    yield from _rows(source, crossed & objects, "error", "crosses-itself", lambda _: what)
    yield from _rows(source, crossed & ~objects, "warning", "crosses-itself", lambda _: what)


def _borders(source: Collected) -> Iterator[Finding]:
    """Boxes partly outside their image, and tiny ones."""
    boxes = source.xywh if source.polygons is None else enclosing(source.polygons)
    index, known = _positions(source)
    sizes = np.array([(i.width, i.height) for i in source.images], np.float64).reshape(-1, 2)
    limit = sizes[index] if len(sizes) else np.zeros((len(boxes), 2))
    with np.errstate(invalid="ignore"):
        low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        sound = known & np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
        out = np.maximum(np.maximum(-low, high - limit).max(axis=1), 0)
        partly = sound & (out > _SLACK) & (low < limit).all(axis=1) & (high > 0).all(axis=1)
        tiny = sound & (boxes[:, 2:].min(axis=1, initial=np.inf) < MIN_SIDE)
    yield from _rows(
        source, partly, "warning", "partly-outside",
        lambda row: f"the box reaches {out[row]:.4g} px out of its image",
    )  # fmt: skip
    yield from _rows(
        source, tiny, "warning", "tiny",
        lambda row: f"the box is {boxes[row, 2]:.3g} x {boxes[row, 3]:.3g} px",
    )  # fmt: skip


def _positions(source: Collected) -> tuple[IntArray, BoolArray]:
    """Return the position (N,) of each annotation's image, and whether it has one."""
    ids = {image.id: i for i, image in reversed(list(enumerate(source.images)))}
    unique, inverse = np.unique(source.image_ids, return_inverse=True)
    found = np.array([ids.get(int(value), -1) for value in unique], np.int64)
    index = found[inverse] if len(found) else np.zeros(0, np.int64)
    return np.maximum(index, 0), index >= 0


def _doubles(source: Collected) -> Iterator[Finding]:
    """Annotations of one image and class with the same box or corners."""
    boxes = source.xywh
    if source.polygons is not None:
        first = source.polygons.points[source.polygons.offsets[:-1]]
        boxes = np.concatenate([enclosing(source.polygons), first], axis=1)
    key = np.column_stack([source.image_ids, source.category_ids, boxes])
    again = _repeated(key) if len(key) else np.zeros(0, np.bool_)
    yield from _rows(
        source, again, "warning", "duplicate-box",
        lambda _: "an object of the same class has the same box",
    )  # fmt: skip
