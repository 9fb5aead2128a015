"""Objects and detections in the order in which they are matched and counted.

A *group* is an image and a class: ``rank of the image's id * classes + class``. Objects stand by
group in the annotations' order; detections by group, best first, equal scores in input order, and
no more of a group than the protocol's largest limit. Files are written image by image, so this
order reads them nearly from front to back.

Two stable sorts are our own. On 794 000 detections in a file's order, ``counting_order`` takes
3 ms and numpy's stable argsort 23 ms (shuffled 8 and 99), ``descending_order`` 25 ms and numpy's
78 ms; a whole evaluation from arrays takes 250 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sodkit.arrays import FloatArray, IntArray, WordArray
from sodkit.compiled import compiled
from sodkit.data.records import Annotations, Detections
from sodkit.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Objects or detections of all groups.

    Attributes:
        rows: (N,) their rows in the annotations or detections.
        offsets: (images * classes + 1,) group g is [offsets[g], offsets[g + 1]).
        classes: number of classes.
        boxes: (N, 4) xywh or (N, 5) obb.
        area: (N,) px^2: as annotated; of detections w * h.
        order: (N,) positions of detections by descending score, equal ones as they stand; of
            objects: as they stand.
        beyond: how many detections the largest limit left out.
    """

    rows: IntArray
    offsets: IntArray
    classes: int
    boxes: FloatArray
    area: FloatArray
    order: IntArray
    beyond: int = 0

    def __len__(self) -> int:
        return len(self.rows)


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
    ids = np.array([image.id for image in annotations.images], np.int64)
    image = image_ranks(annotations, ids)[annotations.image_index[rows]]
    group = image * count + classes
    groups = count * len(ids)
    chosen = rows[counting_order(group, np.arange(len(group)), groups)]
    boxes = annotations.xywh if annotations.obb is None else annotations.obb
    return Table(
        chosen,
        _offsets(group, groups),
        count,
        np.ascontiguousarray(boxes[chosen], np.float64),
        np.ascontiguousarray(annotations.area[chosen], np.float64),
        np.arange(len(chosen)),
    )


def detection_table(
    annotations: Annotations, detections: Detections, classes: IntArray, count: int, limit: int
) -> Table:
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
    group = image_ranks(annotations, detections.image_ids) * count + classes
    groups = count * len(annotations.images)
    best_first = counting_order(group, np.arange(len(group)), groups)
    best_first = descending_order(detections.scores, best_first)
    rows = counting_order(group, best_first, groups)
    offsets = _offsets(group, groups)
    if np.diff(offsets).max(initial=0) > limit:
        rank = np.arange(len(rows)) - np.repeat(offsets[:-1], np.diff(offsets))
        rows = rows[rank < limit]
        offsets = np.concatenate([[0], np.cumsum(np.minimum(np.diff(offsets), limit))])
    boxes = detections.xywh if detections.obb is None else detections.obb
    boxes = np.ascontiguousarray(boxes[rows], np.float64)
    area = boxes[:, 2] * boxes[:, 3]
    place = np.full(len(detections), -1)
    place[rows] = np.arange(len(rows))
    order = place[best_first]
    if len(rows) < len(order):
        order = order[order >= 0]
    return Table(rows, offsets, count, boxes, area, order, len(detections) - len(rows))


def _offsets(group: IntArray, count: int) -> IntArray:
    sizes = np.bincount(group, minlength=count)
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def counting_order(keys: IntArray, order: IntArray, buckets: int) -> IntArray:
    """Sort rows stably by key: keys (N,) in [0, buckets), ``order`` the rows, returned sorted."""
    out = np.empty(len(order), np.int64)
    _counting_order(keys, order, np.zeros(buckets + 1, np.int64), out)
    return out


@compiled("void(i8[:], i8[:], i8[:], i8[:])")
def _counting_order(keys: IntArray, order: IntArray, places: IntArray, out: IntArray) -> None:
    """Fill ``out``; ``places`` (buckets + 1,) holds zeros."""
    for key in keys:
        places[key + 1] += 1
    for bucket in range(len(places) - 1):
        places[bucket + 1] += places[bucket]
    for row in order:
        out[places[keys[row]]] = row
        places[keys[row]] += 1


def descending_order(values: FloatArray, order: IntArray) -> IntArray:
    """Sort rows stably by value, largest first: values (N,) finite, ``order`` the rows."""
    plain = np.ascontiguousarray(values, np.float64) + 0.0  # -0.0 becomes 0.0
    rows, keys = np.empty((2, len(order)), np.int64), np.empty((2, len(order)), np.uint64)
    places = np.empty(2**16 + 1, np.int64)
    sorted_ = _descending_order(plain.view(np.uint64), order, rows, keys, places)
    return np.asarray(rows[sorted_])


@compiled("i8(u8[:], i8[:], i8[:,:], u8[:,:], i8[:])")
def _descending_order(
    bits: WordArray, order: IntArray, rows: IntArray, keys: WordArray, places: IntArray
) -> int:
    """Radix sort, 16 bits at a time; digits that all values share are skipped.

    Returns which of the two ``rows`` is the sorted one; ``keys`` and ``places`` are scratch.

    As an unsigned integer the bits of a positive double rise with its value and those of a
    negative one fall: turned, they all rise.
    """
    count, now = len(order), 0
    sign = np.uint64(1) << np.uint64(63)
    for i in range(count):
        key = bits[order[i]]
        keys[0, i] = ~key if key & sign else key | sign
        rows[0, i] = order[i]
    for digit in range(4):
        shift = np.uint64(16 * digit)
        for bucket in range(65537):
            places[bucket] = 0
        for i in range(count):
            places[65536 - np.int64((keys[now, i] >> shift) & np.uint64(65535))] += 1
        if count and places[65536 - np.int64((keys[now, 0] >> shift) & np.uint64(65535))] == count:
            continue
        for bucket in range(65536):
            places[bucket + 1] += places[bucket]
        for i in range(count):
            own = 65535 - np.int64((keys[now, i] >> shift) & np.uint64(65535))
            place = places[own]
            places[own] += 1
            keys[1 - now, place] = keys[now, i]
            rows[1 - now, place] = rows[now, i]
        now = 1 - now
    return now
