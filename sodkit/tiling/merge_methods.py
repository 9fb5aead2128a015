"""Ways to make one box of those that several windows have of one object, next to class-wise NMS.

All work on the detections of one image and class, best first. docs/merging.md compares them.

``wbf``     weighted box fusion (Solovyev et al. 2021, section 3): a box joins the fused box that it
            overlaps most, whose place is then the mean of its members, weighted by their scores
``nmm``     non-maximum merging (as SAHI does it): the best box takes those that it covers or that
            cover it, and grows to enclose them
``border``  a box that its window's border cuts yields to a whole one that covers it
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import shapely

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.geometry.boxes import area, iou
from sodkit.geometry.nms import nms, nms_rotated
from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.geometry.rotated import canonical, obb_to_corners, obb_to_xyxy

_CELL = 64.0
"""Side in px of the cells that fused boxes are found by."""
_LEAST = 1e-12
"""The weight of a box whose score is 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """What is left of boxes: the row of each one's best member, and the boxes themselves."""

    rows: IntArray
    boxes: FloatArray


def fuse(boxes: FloatArray, scores: FloatArray, threshold: float) -> Merged:
    """Fuse boxes by weighted box fusion; a fused box has the score of its best member.

    The paper averages scores over models that all see the whole image. Windows do not: the mean
    would rank an object lower for being seen once more, cut.

    Args:
        boxes: (N, 4) xyxy or (N, 5) oriented, best first.
        scores: (N,) of the boxes.
        threshold: IoU with the fused box above which a box joins it.
    """
    clusters: list[_Cluster] = []
    cells: dict[tuple[int, int], set[int]] = defaultdict(set)
    for row, (box, score) in enumerate(zip(boxes, scores.tolist(), strict=True)):
        near = sorted({k for cell in _cells(box) for k in cells.get(cell, ())})
        fused = np.array([clusters[k].fused for k in near]).reshape(-1, len(box))
        shares = _iou_with(box, fused)
        if shares.max(initial=0.0) > threshold:
            chosen = near[int(shares.argmax())]
        else:
            chosen = len(clusters)
            clusters.append(_Cluster(row, box))
        clusters[chosen].add(box, max(score, _LEAST))
        for cell in _cells(clusters[chosen].fused):
            cells[cell].add(chosen)
    rows = np.array([cluster.row for cluster in clusters], np.int64)
    fused = np.array([cluster.fused for cluster in clusters]).reshape(-1, boxes.shape[1])
    return Merged(rows, fused)


@dataclass(slots=True, eq=False)
class _Cluster:
    """Boxes that are fused: the best one's row, the fused box, and sums over its members.

    ``mean`` is the fused box before its longer side is made the width: the form that members take
    before they are added.
    """

    row: int
    fused: FloatArray
    weight: float = 0.0
    total: FloatArray = field(default_factory=lambda: np.zeros(0))
    mean: FloatArray = field(default_factory=lambda: np.zeros(0))

    def add(self, box: FloatArray, score: float) -> None:
        """Take a box in."""
        if not self.weight:
            self.weight, self.total, self.mean = score, box * score, box
            return
        oriented = len(box) == 5
        self.total = self.total + score * (_aligned(box, float(self.mean[4])) if oriented else box)
        self.weight += score
        self.mean = self.total / self.weight
        self.fused = canonical(self.mean[None])[0] if oriented else self.mean


def _aligned(obb: FloatArray, angle: float) -> FloatArray:
    """Return the same oriented box with the angle that is closest to another one.

    A box turned by half a turn is the same, and by a quarter with width and height exchanged.
    """
    cx, cy, w, h, own = obb.tolist()
    quarters = round((angle - own) / (math.pi / 2))
    if quarters % 2:
        w, h = h, w
    return np.array([cx, cy, w, h, own + quarters * math.pi / 2])


def enclose(boxes: FloatArray, threshold: float) -> Merged:
    """Merge boxes by non-maximum merging.

    Args:
        boxes: (N, 4) xyxy or (N, 5) oriented, best first.
        threshold: share of the smaller of two boxes that lies in the other, above which the better
            one takes the other; oriented ones are enclosed along the better one's sides.
    """
    alive = np.ones(len(boxes), np.bool_)
    first, second, inter = _pairs(boxes)
    sizes = _areas(boxes)
    taken = inter > threshold * np.minimum(sizes[first], sizes[second])
    followers: dict[int, list[int]] = defaultdict(list)
    for row, other in zip(first[taken].tolist(), second[taken].tolist(), strict=True):
        followers[row].append(other)
    rows, merged = [], []
    for row in range(len(boxes)):
        if not alive[row]:
            continue
        members = [row, *(other for other in followers.get(row, ()) if alive[other])]
        alive[members] = False
        rows.append(row)
        merged.append(boxes[row] if len(members) == 1 else _enclosing(boxes[members]))
    return Merged(np.array(rows, np.int64), np.array(merged).reshape(-1, boxes.shape[1]))


def _enclosing(boxes: FloatArray) -> FloatArray:
    """Return the least box around all, of oriented ones along the sides of the first."""
    if boxes.shape[1] == 4:
        return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    angle = boxes[0, 4]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = obb_to_corners(boxes).reshape(-1, 2) @ turn
    low, high = points.min(axis=0), points.max(axis=0)
    centre = turn @ ((low + high) / 2)
    return np.asarray(canonical(np.array([[*centre, *(high - low), angle]]))[0])


def prefer_whole(
    boxes: FloatArray, scores: FloatArray, cut: BoolArray, threshold: float
) -> IntArray:
    """Return the rows that stay, ascending, where cut boxes yield to whole ones.

    Args:
        boxes: (N, 4) xyxy or (N, 5) oriented, best first.
        scores: (N,) of the boxes.
        cut: (N,) the border of its window cuts the box.
        threshold: IoU above which the lower of two whole boxes, or of two cut ones, goes; and share
            of a cut box within a whole one that stays above which the cut one goes.
    """
    whole = np.flatnonzero(~cut)
    whole = whole[_nms(boxes[whole], scores[whole], threshold)]
    stays = np.zeros(len(boxes), np.bool_)
    stays[whole] = True
    first, second, inter = _pairs(boxes)
    one, other = np.concatenate([first, second]), np.concatenate([second, first])
    within = np.concatenate([inter, inter]) > threshold * _areas(boxes)[other]
    yields = np.zeros(len(boxes), np.bool_)
    yields[other[within & stays[one]]] = True
    rest = np.flatnonzero(cut & ~yields)
    stays[rest[_nms(boxes[rest], scores[rest], threshold)]] = True
    return np.flatnonzero(stays)


def _nms(boxes: FloatArray, scores: FloatArray, threshold: float) -> IntArray:
    oriented = boxes.shape[1] == 5
    return nms_rotated(boxes, scores, threshold) if oriented else nms(boxes, scores, threshold)


def _areas(boxes: FloatArray) -> FloatArray:
    return area(boxes) if boxes.shape[1] == 4 else np.asarray(boxes[:, 2] * boxes[:, 3])


def _upright(boxes: FloatArray) -> FloatArray:
    """Return the enclosing upright boxes (N, 4) xyxy."""
    return boxes if boxes.shape[1] == 4 else obb_to_xyxy(boxes)


def _pairs(boxes: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the pairs of boxes that overlap, the first before the second, and the px^2 they share.

    Returns:
        (P,), (P,) rows by ascending first and second, (P,) intersections.
    """
    xyxy = _upright(boxes)
    shapes = shapely.box(*xyxy.T)
    first, second = shapely.STRtree(shapes).query(shapes)
    before = first < second
    order = np.lexsort((second[before], first[before]))
    first, second = first[before][order], second[before][order]
    if boxes.shape[1] == 4:
        low = np.maximum(xyxy[first, :2], xyxy[second, :2])
        high = np.minimum(xyxy[first, 2:], xyxy[second, 2:])
        inter = np.maximum(high - low, 0.0).prod(axis=1)
    else:
        shares = rotated_iou_pairs(boxes[first], boxes[second])
        sizes = _areas(boxes)
        inter = shares / (1 + shares) * (sizes[first] + sizes[second])
    return first, second, inter


def _iou_with(box: FloatArray, others: FloatArray) -> FloatArray:
    """Return the IoU (N,) of one box with others (N, 4 or 5)."""
    if len(box) == 4:
        return np.asarray(iou(box[None], others)[0])
    return rotated_iou_pairs(np.broadcast_to(box, others.shape), others)


def _cells(box: FloatArray) -> set[tuple[int, int]]:
    """Return the cells that a box's enclosing upright box reaches into."""
    x0, y0, x1, y1 = np.floor(_upright(box[None])[0] / _CELL).astype(int).tolist()
    return {(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)}
