"""The detections of one large image: gathered window by window, merged in parts, given in parts.

Memory is what the boxes, scores and labels take (44 or 52 bytes a detection) and a part's work: a
scene of a gigapixel may have millions of detections.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.records import BoxKind, Detections
from sodkit.geometry.boxes import xywh_to_xyxy
from sodkit.geometry.nms import nms, nms_rotated
from sodkit.geometry.rotated import obb_to_xywh, obb_to_xyxy

PART = 1 << 17
"""Detections that are worked on, or given, at a time."""

_MARGIN = 8.0
"""So many of its widest boxes a band sees beyond its own, at first."""


class Gathered:
    """Detections of one image in the order in which they were added; rows count from 0.

    Args:
        kind: of the boxes, if none are added.
    """

    def __init__(self, kind: BoxKind) -> None:
        self.kind = kind
        self._labels: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = []
        self._scores: list[FloatArray] = []
        self._boxes: list[FloatArray] = []
        self._starts = [0]

    def __len__(self) -> int:
        return self._starts[-1]

    def add(self, found: Detections) -> None:
        """Append the detections of a window.

        Raises:
            ValueError: they are of another kind than those before.
        """
        if len(self._starts) > 1 and found.kind != self.kind:
            raise ValueError("horizontal and oriented detections cannot be joined")
        self.kind = found.kind
        self._labels.append(found.labels.astype(np.int32))
        self._scores.append(found.scores)
        self._boxes.append(found.xywh if found.obb is None else found.obb)
        self._starts.append(len(self) + len(found))

    @property
    def scores(self) -> FloatArray:
        """(N,) all scores."""
        return np.concatenate([np.zeros(0), *self._scores])

    @property
    def labels(self) -> IntArray:
        """(N,) all labels."""
        return np.concatenate([np.zeros(0, np.int64), *self._labels])

    def rows_by_label(self) -> Iterator[IntArray]:
        """Yield the rows of each label that occurs, ascending."""
        labels = self.labels
        for label in np.unique(labels):
            yield np.flatnonzero(labels == label)

    def boxes(self, rows: IntArray) -> FloatArray:
        """Return boxes (N, 4) xywh or (N, 5) oriented of ascending rows."""
        return self._column(self._boxes, rows, np.zeros((0, 4 if self.kind == "horizontal" else 5)))

    def take(self, rows: IntArray, image_id: int) -> Detections:
        """Return detections of any rows, in their order."""
        order = np.argsort(rows, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(rows))
        ascending = rows[order]
        boxes = self.boxes(ascending)[back]
        labels = self._column(self._labels, ascending, np.zeros(0, np.int32))[back]
        return Detections(
            image_ids=np.full(len(rows), image_id, np.int64),
            labels=labels.astype(np.int64),
            scores=self._column(self._scores, ascending, np.zeros(0))[back],
            xywh=boxes if self.kind == "horizontal" else obb_to_xywh(boxes),
            obb=None if self.kind == "horizontal" else boxes,
        )

    def _column(self, parts: list, rows: IntArray, none: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        edges = np.searchsorted(rows, self._starts)
        chosen = [
            part[rows[low:high] - start]
            for part, start, low, high in zip(parts, self._starts, edges, edges[1:], strict=False)
            if high > low
        ]
        return np.concatenate([none, *chosen])


@dataclass(frozen=True, slots=True, eq=False)
class ImageResult:
    """What is found in an image: rows of what was gathered, best first."""

    gathered: Gathered
    rows: IntArray
    image_id: int

    def of_scores(self, least: Sequence[float]) -> ImageResult:
        """Return what reaches the least score of its class; ``least``: by label."""
        labels = self.gathered.labels[self.rows]
        enough = self.gathered.scores[self.rows] >= np.asarray(least, np.float64)[labels]
        return replace(self, rows=self.rows[enough])

    def parts(self) -> Iterator[Detections]:
        """Yield the detections in order, ``PART`` at a time; at least one part."""
        for start in range(0, max(len(self.rows), 1), PART):
            yield self.gathered.take(self.rows[start : start + PART], self.image_id)

    def whole(self) -> Detections:
        """Return all detections."""
        return self.gathered.take(self.rows, self.image_id)


def merge_gathered(gathered: Gathered, iou: float, *, part: int = PART) -> IntArray:
    """Return the rows that ``merge_patches`` would keep by class-wise NMS, in its order.

    Args:
        gathered: the detections of an image.
        iou: see ``merge_patches``.
        part: so many boxes are suppressed at a time.
    """
    scores = gathered.scores
    kept = [np.zeros(0, np.int64)]
    for rows in gathered.rows_by_label():
        kept.append(rows[_suppressed(gathered, rows, scores[rows], iou, part)])
    chosen = np.sort(np.concatenate(kept))
    return np.asarray(chosen[np.argsort(-scores[chosen], kind="stable")], np.int64)


def _suppressed(
    gathered: Gathered, rows: IntArray, scores: FloatArray, iou: float, part: int
) -> BoolArray:
    """Return (N,) which rows of one class stay.

    The image is divided into upright bands by the boxes' centres. Each band is suppressed by
    itself, with the boxes around it. A box stays if no better one that overlaps it stays: this has
    exactly one solution. A band's result is part of it if what it found for the boxes of other
    bands that reach into it is what those bands found. Where that fails, all is done at once.
    """
    if len(rows) <= part:
        return _stay(gathered, rows, scores, iou)
    low, high = _extents(gathered, rows, part)
    centres = (low + high) / 2
    edges = np.quantile(centres, np.linspace(0, 1, 2 * len(rows) // part + 2))
    band = np.searchsorted(edges[1:-1], centres, side="right")
    stays = np.zeros(len(rows), np.bool_)
    guesses: list[tuple[IntArray, BoolArray]] = []
    for number in range(len(edges) - 1):
        own = band == number
        if not own.any():
            continue
        left, right = low[own].min(), high[own].max()
        margin = _MARGIN * float((high[own] - low[own]).max())
        seen = np.flatnonzero((high >= left - margin) & (low <= right + margin))
        found = _stay(gathered, rows[seen], scores[seen], iou)
        mine = own[seen]
        stays[seen[mine]] = found[mine]
        reach = ~mine & (high[seen] >= left) & (low[seen] <= right)
        guesses.append((seen[reach], found[reach]))
    if all(np.array_equal(stays[others], found) for others, found in guesses):
        return stays
    return _stay(gathered, rows, scores, iou)


def _stay(gathered: Gathered, rows: IntArray, scores: FloatArray, iou: float) -> BoolArray:
    """Return (N,) which rows stay, all at once."""
    boxes = gathered.boxes(rows)
    if gathered.kind == "horizontal":
        kept = nms(xywh_to_xyxy(boxes), scores, iou)
    else:
        kept = nms_rotated(boxes, scores, iou)
    stays = np.zeros(len(rows), np.bool_)
    stays[kept] = True
    return stays


def _extents(gathered: Gathered, rows: IntArray, part: int) -> tuple[FloatArray, FloatArray]:
    """Return least and greatest x (N,) of boxes."""
    pieces = []
    for start in range(0, len(rows), part):
        boxes = gathered.boxes(rows[start : start + part])
        xyxy = xywh_to_xyxy(boxes) if gathered.kind == "horizontal" else obb_to_xyxy(boxes)
        pieces.append(xyxy[:, [0, 2]])
    both = np.concatenate(pieces)
    return both[:, 0], both[:, 1]
