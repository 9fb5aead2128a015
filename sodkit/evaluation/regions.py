"""Detections inside ignore regions, for ``--ignore-regions absorb``."""

from __future__ import annotations

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.compiled import compiled
from sodkit.data.records import Annotations
from sodkit.evaluation.tables import Table, image_ranks
from sodkit.geometry.overlap import cut_polygon, turns
from sodkit.geometry.rotated import obb_to_corners


def absorbed(annotations: Annotations, detections: Table) -> BoolArray:
    """Return which detections have more than half of their area inside one ignore region.

    A region is its polygon as annotated (any number of corners, also concave), else its oriented
    or upright box. Detections without area are never inside.

    Args:
        annotations: their regions.
        detections: in groups.
    """
    regions = np.flatnonzero(annotations.is_region)
    inside = np.zeros(len(detections.rows), np.bool_)
    if len(regions) == 0:
        return inside
    rank = image_ranks(annotations, np.array([one.id for one in annotations.images], np.int64))
    points, corners = _region_polygons(annotations, regions)
    bounds = detections.offsets[:: detections.classes]
    boxes = _as_obb(detections.boxes)
    turn = turns(boxes)
    for i, region in enumerate(regions):
        image = rank[annotations.image_index[region]]
        first, last = int(bounds[image]), int(bounds[image + 1])
        polygon = np.ascontiguousarray(points[corners[i] : corners[i + 1]])
        if len(polygon) == 0:
            continue
        # A cut adds at most one corner for each edge that crosses the line.
        room = np.empty((2, 2, 32 * len(polygon)))
        _mark_inside(boxes, turn, first, last, polygon, room, inside)
    return inside


def _as_obb(boxes: FloatArray) -> FloatArray:
    """Return (N, 4) xywh as (N, 5) oriented boxes of angle 0, sides not swapped."""
    if boxes.shape[1] == 5:
        return boxes
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    return np.concatenate([centre, boxes[:, 2:], np.zeros((len(boxes), 1))], axis=1)


def _region_polygons(annotations: Annotations, rows: IntArray) -> tuple[FloatArray, IntArray]:
    """Return the corners (P, 2) of the regions in ``rows`` and their bounds (R + 1,)."""
    if annotations.polygons is not None:
        chosen = annotations.polygons.take(rows)
        return chosen.points, chosen.offsets
    boxes = annotations.xywh if annotations.obb is None else annotations.obb
    corners = obb_to_corners(_as_obb(boxes[rows]))
    return corners.reshape(-1, 2), np.arange(len(rows) + 1) * 4


@compiled("void(f8[:,:], f8[:,:], i8, i8, f8[:,:], f8[:,:,:], u1[:])")
def _mark_inside(
    boxes: FloatArray,
    turn: FloatArray,
    first: int,
    last: int,
    polygon: FloatArray,
    buffer: FloatArray,
    inside: BoolArray,
) -> None:
    """Mark the boxes of an image [first, last) that lie half inside a polygon."""
    left, top, right, bottom = polygon[0, 0], polygon[0, 1], polygon[0, 0], polygon[0, 1]
    for i in range(1, len(polygon)):
        left, right = min(left, polygon[i, 0]), max(right, polygon[i, 0])
        top, bottom = min(top, polygon[i, 1]), max(bottom, polygon[i, 1])
    for i in range(first, last):
        reach = (boxes[i, 2] + boxes[i, 3]) / 2
        if (
            boxes[i, 0] - reach > right
            or boxes[i, 0] + reach < left
            or boxes[i, 1] - reach > bottom
            or boxes[i, 1] + reach < top
        ):
            continue
        area = boxes[i, 2] * boxes[i, 3]
        if area > 0 and 2 * _share(boxes[i], turn[i], polygon, buffer) > area:
            inside[i] = True


def _share(box: FloatArray, turn: FloatArray, polygon: FloatArray, buffer: FloatArray) -> float:
    """Return the area of a polygon, convex or not, inside an oriented box.

    The polygon is clipped in the box's frame. Where a concave one falls apart, the pieces stay
    joined by edges that run to and fro on the clipping line and add no area.
    """
    cos, sin = turn[0], turn[1]
    count = len(polygon)
    for i in range(count):
        dx, dy = polygon[i, 0] - box[0], polygon[i, 1] - box[1]
        buffer[0, 0, i], buffer[0, 1, i] = dx * cos + dy * sin, dy * cos - dx * sin
    now = 0
    for side in range(4):
        axis = side >> 1
        sign = 1.0 if side & 1 else -1.0
        count = cut_polygon(buffer[now], buffer[1 - now], count, axis, sign, box[2 + axis] / 2)
        now = 1 - now
        if count == 0:
            return 0.0
    doubled = 0.0
    for i in range(count):
        j = (i + 1) % count
        doubled += buffer[now, 0, i] * buffer[now, 1, j] - buffer[now, 0, j] * buffer[now, 1, i]
    return abs(doubled) / 2
