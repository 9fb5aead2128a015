"""Objects and detections in the order in which they are matched and counted.

A *group* is a class and an image: ``class * images + rank of the image's id``. Objects stand by
group in the annotations' order; detections by group, best first, equal scores in input order, and
no more of a group than the protocol's largest limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from sodkit.data.records import Annotations, Detections, FloatArray, IntArray
from sodkit.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Objects or detections of all groups.

    Attributes:
        rows: (N,) their rows in the annotations or detections.
        offsets: (classes * images + 1,) group g is [offsets[g], offsets[g + 1]).
        boxes: (N, 4) xywh or (N, 5) obb.
        area: (N,) px^2: as annotated; of detections w * h.
    """

    rows: IntArray
    offsets: IntArray
    boxes: FloatArray
    area: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class DetectionTable(Table):
    """Detections, and the order in which each class counts them.

    Attributes:
        rank: (N,) place in the group, from 0.
        order: (N,) positions in this table by class and descending score; ties by image, then
            by place in the group.
        class_offsets: (classes + 1,) class k is ``order[class_offsets[k]:class_offsets[k + 1]]``.
        beyond: how many detections the largest limit left out.
    """

    rank: IntArray
    order: IntArray
    class_offsets: IntArray
    beyond: int


def image_ranks(annotations: Annotations, image_ids: IntArray) -> IntArray:
    """Return for every image id its rank among the annotations' ids, ascending.

    Raises:
        DataError: two images have one id, or an id is unknown.
    """
    ids = np.array([image.id for image in annotations.images], np.int64)
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise DataError(f"image id {twice[0]} is there twice", where="annotations: $.images")
    if len(image_ids) == 0:
        return np.zeros(0, np.int64)
    place = _find(ordered, image_ids)
    if (place < 0).any():
        row = int(np.argmax(place < 0))
        raise DataError(
            f"image {image_ids[row]} is not in the annotations", where=f"detection {row}"
        )
    return place


def _find(ordered: IntArray, values: IntArray) -> IntArray:
    """Return the places of values in a sorted array without repeats, -1 where absent."""
    if len(ordered) == 0:
        return np.full(len(values), -1, np.int64)
    low, high = int(ordered[0]), int(ordered[-1])
    if high - low > 10_000_000:
        place = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
        return np.where(ordered[place] == values, place, -1)
    table = np.full(high - low + 3, -1, np.int64)
    table[ordered - low + 1] = np.arange(len(ordered))
    return np.asarray(table[np.clip(values, low - 1, high + 1) - low + 1])


def object_table(annotations: Annotations, rows: IntArray, classes: IntArray, count: int) -> Table:
    """Sort objects into groups.

    Args:
        annotations: all of them.
        rows: (G,) the objects to take.
        classes: (G,) the class of each, below ``count``.
        count: number of classes.
    """
    images = len(annotations.images)
    by_index = image_ranks(
        annotations, np.array([image.id for image in annotations.images], np.int64)
    )
    group = classes * images + by_index[annotations.image_index[rows]]
    order = np.argsort(group, kind="stable")
    chosen = rows[order]
    boxes = annotations.xywh if annotations.obb is None else annotations.obb
    return Table(
        chosen,
        _offsets(group, count * images),
        np.ascontiguousarray(boxes[chosen], np.float64),
        np.ascontiguousarray(annotations.area[chosen], np.float64),
    )


def detection_table(
    annotations: Annotations, detections: Detections, classes: IntArray, count: int, limit: int
) -> DetectionTable:
    """Sort detections into groups, best first, and cut each group at ``limit``.

    Args:
        annotations: give the images.
        detections: all of them.
        classes: (N,) the class of each, below ``count``.
        count: number of classes.
        limit: detections a group that are kept.

    Raises:
        DataError: a detection of an unknown image.
    """
    images = len(annotations.images)
    image = image_ranks(annotations, detections.image_ids)
    by_image = _counting_order(image, np.arange(len(image)), max(images, 1))
    scores = np.ascontiguousarray(detections.scores, np.float64) + 0.0  # -0.0 becomes 0.0
    best = _descending(scores.view(np.uint64), by_image)
    rows, offsets, rank, order, class_offsets = _arrange(
        best, np.ascontiguousarray(classes, np.int64), image, count, images, limit
    )
    boxes = detections.xywh if detections.obb is None else detections.obb
    boxes = np.ascontiguousarray(boxes[rows], np.float64)
    return DetectionTable(
        rows=rows,
        offsets=offsets,
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3],
        rank=rank,
        order=order,
        class_offsets=class_offsets,
        beyond=len(detections) - len(rows),
    )


def _offsets(group: IntArray, count: int) -> IntArray:
    sizes = np.bincount(group, minlength=count)
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


@numba.njit(cache=True, nogil=True)
def _counting_order(keys: IntArray, order: IntArray, buckets: int) -> IntArray:
    """Sort ``order`` stably by ``keys[order]``, all below ``buckets``."""
    places = np.zeros(buckets + 1, np.int64)
    for key in keys:
        places[key + 1] += 1
    for bucket in range(buckets):
        places[bucket + 1] += places[bucket]
    out = np.empty_like(order)
    for row in order:
        out[places[keys[row]]] = row
        places[keys[row]] += 1
    return out


@numba.njit(cache=True, nogil=True)
def _descending(bits: npt.NDArray[np.uint64], order: IntArray) -> IntArray:
    """Sort ``order`` stably by descending score: a radix sort, 11 bits at a time.

    Digits that all scores share are skipped.

    Args:
        bits: (N,) the scores' bits, of -0.0 those of 0.0: they rise with a positive score and fall
            with a negative one.
        order: the rows in the order that ties keep.
    """
    count = len(order)
    keys = np.empty(count, np.uint64)
    sign = np.uint64(1) << np.uint64(63)
    for i in range(count):
        key = bits[order[i]]
        keys[i] = ~key if key & sign else key | sign
    spare_keys = np.empty_like(keys)
    out, spare = order.copy(), np.empty_like(order)
    for digit in range(6):
        shift = np.uint64(11 * digit)
        places = np.zeros(2049, np.int64)
        for key in keys:
            places[2048 - ((key >> shift) & np.uint64(2047))] += 1
        if places.max() == count:
            continue
        for bucket in range(2048):
            places[bucket + 1] += places[bucket]
        for i in range(count):
            bucket = 2047 - ((keys[i] >> shift) & np.uint64(2047))
            place = places[bucket]
            places[bucket] += 1
            spare_keys[place] = keys[i]
            spare[place] = out[i]
        keys, spare_keys = spare_keys, keys
        out, spare = spare, out
    return out


@numba.njit(cache=True, nogil=True)
def _arrange(
    best: IntArray, classes: IntArray, image: IntArray, count: int, images: int, limit: int
) -> tuple[IntArray, IntArray, IntArray, IntArray, IntArray]:
    """Deal rows that stand best first into groups and classes.

    Returns:
        rows, offsets, rank, order, class_offsets: see ``DetectionTable``.
    """
    groups = count * images
    offsets = np.zeros(groups + 1, np.int64)
    for row in best:
        group = classes[row] * images + image[row]
        if offsets[group + 1] < limit:
            offsets[group + 1] += 1
    for group in range(groups):
        offsets[group + 1] += offsets[group]
    total = offsets[groups]
    class_offsets = np.empty(count + 1, np.int64)
    for one in range(count + 1):
        class_offsets[one] = offsets[one * images]
    taken = np.zeros(groups, np.int64)
    filled = class_offsets.copy()
    rows, rank, order = (
        np.empty(total, np.int64),
        np.empty(total, np.int64),
        np.empty(total, np.int64),
    )
    for row in best:
        group = classes[row] * images + image[row]
        if taken[group] == limit:
            continue
        place = offsets[group] + taken[group]
        rows[place] = row
        rank[place] = taken[group]
        taken[group] += 1
        order[filled[classes[row]]] = place
        filled[classes[row]] += 1
    return rows, offsets, rank, order, class_offsets
