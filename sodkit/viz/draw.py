"""Boxes on images: thin lines around objects, never over them; ignored parts masked.

Everything is drawn in place on an RGB canvas that shows a part of an image at some magnification
(``View``). Boxes come as corners (N, 4, 2) in image pixels, upright and oriented ones alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from sodkit.arrays import FloatArray, IntArray
from sodkit.data.images.decoding import RgbImage
from sodkit.data.records import Annotations, Detections
from sodkit.geometry.boxes import xywh_to_xyxy
from sodkit.geometry.rotated import obb_to_corners
from sodkit.viz.palette import IGNORED, Colour, class_colour

Points = npt.NDArray[np.int32]
Line = Literal["closed", "corners", "dashed"]
SHIFT = 4
"""Fractional bits of the coordinates given to OpenCV."""
GAP = 2.0
"""Canvas pixels between a box and its line's nominal edge. OpenCV's smoothed lines are some 1.4 px
wider than their thickness; with a rim of a pixel they just do not reach the object."""
CASING = 0.5
"""How much the line's dark rim darkens what is below."""
MASK = np.array([34, 34, 40], dtype=np.float32)
MASK_DEPTH = 0.72
HATCH = 10
DASH = 4.0
"""Canvas pixels of a dash and of the space after it, nearly."""


@dataclass(frozen=True, slots=True)
class View:
    """Where a canvas looks: canvas = (image - (x, y)) * scale."""

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0

    def fixed(self, points: FloatArray) -> Points:
        """Return image points (..., 2) as OpenCV's fixed-point canvas coordinates.

        OpenCV puts whole numbers on pixel centres, our coordinates put them on pixel corners.
        """
        moved = (points - [self.x, self.y]) * self.scale - 0.5
        # far outside the canvas OpenCV's fixed-point numbers would overflow
        return np.asarray(np.round(np.clip(moved, -1e5, 1e5) * (1 << SHIFT)), dtype=np.int32)


def box_corners(boxes: Annotations | Detections) -> FloatArray:
    """Return the corners (N, 4, 2): of the oriented boxes if there are any, else upright ones."""
    if boxes.obb is not None:
        return obb_to_corners(boxes.obb)
    return upright_corners(xywh_to_xyxy(boxes.xywh))


def upright_corners(xyxy: FloatArray) -> FloatArray:
    """Return the corners (N, 4, 2) of boxes (N, 4) xyxy, clockwise from the left top one."""
    return xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)


def ignored_polygons(truth: Annotations) -> list[FloatArray]:
    """Return the outlines (K, 2) of all that is ignored: polygons as annotated, else boxes."""
    rows = np.flatnonzero(truth.ignore).tolist()
    corners = box_corners(truth)
    polygons = truth.polygons
    if polygons is None:
        return [corners[row] for row in rows]
    return [polygons[row] if len(polygons[row]) >= 3 else corners[row] for row in rows]


def line_width(width: int, height: int) -> int:
    """Return the line width in px for an image: 1 up to 2400 px, 2 up to 6000, then 3."""
    side = max(width, height)
    return 1 + (side > 2400) + (side > 6000)


@dataclass(frozen=True, slots=True, eq=False)
class BoxLayer:
    """Boxes of one kind to draw.

    Attributes:
        corners: (N, 4, 2) image pixels; later boxes are drawn over earlier ones.
        labels: (N,) class indices.
        width: of the lines in canvas px.
        line: ``corners``: only these, and farther out, for ground truth beside predictions.
    """

    corners: FloatArray
    labels: IntArray
    width: int = 1
    line: Line = "closed"

    def strokes(self, view: View) -> list[list[Points]]:
        """Return each box's lines on the canvas, outside the box."""
        gap = GAP + self.width / 2 + (self.width + 1.3 if self.line == "corners" else 0)
        grown = _grow(self.corners, gap / view.scale)
        paths = [_path(box, self.line, DASH / view.scale) for box in grown]
        return [[view.fixed(part) for part in path] for path in paths]


def draw_boxes(canvas: RgbImage, view: View, layers: Sequence[BoxLayer]) -> None:
    """Draw boxes around objects, in the colours of their classes, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        view: what of the image the canvas shows.
        layers: drawn in this order. All rims come first: a rim must not dim another's line.
    """
    drawn = [(layer, layer.strokes(view)) for layer in layers]
    for layer, strokes in drawn:
        flat = [line for path in strokes for line in path]
        _darken_below(canvas, flat, layer.line == "closed", layer.width + 1)
    for layer, strokes in drawn:
        for path, label in zip(strokes, layer.labels.tolist(), strict=True):
            _polylines(canvas, path, layer.line == "closed", class_colour(label), layer.width)


def outline_ignored(
    canvas: RgbImage, view: View, polygons: Sequence[FloatArray], width: int = 1
) -> None:
    """Draw outlines (K, 2) of ignored parts in grey, in place."""
    strokes = [view.fixed(polygon) for polygon in polygons]
    _darken_below(canvas, strokes, True, width + 1)
    _polylines(canvas, strokes, True, IGNORED, width)


def mask_ignored(
    canvas: RgbImage,
    view: View,
    polygons: Sequence[FloatArray],
    keep: FloatArray,
    width: int = 1,
) -> None:
    """Darken and hatch ignored parts, in place, except where objects lie.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        view: what of the image the canvas shows.
        polygons: outlines (K, 2) of the ignored parts in image pixels.
        keep: (N, 4, 2) corners of objects that count: their pixels stay.
        width: of the outlines in px.
    """
    covered = np.zeros(canvas.shape[:2], dtype=np.uint8)
    for polygon in polygons:
        cv2.fillPoly(covered, [view.fixed(polygon)], 255, shift=SHIFT)
    for box in keep:
        cv2.fillPoly(covered, [view.fixed(box)], 0, shift=SHIFT)
    rows, columns = np.nonzero(covered)
    ground = canvas[rows, columns].astype(np.float32)
    hatched = ((rows + columns) % HATCH < 2).astype(np.float32)[:, None]
    veil = MASK + 70 * hatched
    canvas[rows, columns] = (ground + MASK_DEPTH * (veil - ground)).astype(np.uint8)
    outline_ignored(canvas, view, polygons, width)


def _grow(corners: FloatArray, gap: float) -> FloatArray:
    """Move all sides of rectangles (N, 4, 2) outward by ``gap``."""
    along = _unit(corners[:, 1] - corners[:, 0])
    across = _unit(corners[:, 3] - corners[:, 0])
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    shifts = np.stack([a * along + b * across for a, b in signs], axis=1)
    return np.asarray(corners + gap * shifts)


def _unit(vectors: FloatArray) -> FloatArray:
    lengths = np.hypot(vectors[:, 0], vectors[:, 1])[:, None]
    return np.asarray(vectors / np.maximum(lengths, 1e-9))


def _path(box: FloatArray, line: Line, dash: float) -> list[FloatArray]:
    """Return the pieces (K, 2) of a box's (4, 2) line; ``dash`` in image px."""
    if line == "closed":
        return [box]
    return _brackets(box) if line == "corners" else _dashes(box, dash)


def _dashes(box: FloatArray, dash: float) -> list[FloatArray]:
    """Return the dashes (2, 2) along a box (4, 2): a dash at both ends of each side.

    A side has 1000 at most: boxes of a broken file may be of any size.
    """
    pieces = []
    for start, end in zip(box, np.roll(box, -1, axis=0), strict=True):
        count = int(np.clip(np.hypot(*(end - start)) / (2 * dash) + 0.5, 2, 1000))
        ends = np.arange(2 * count)[:, None] / (2 * count - 1)
        pieces += list((start + ends * (end - start)).reshape(count, 2, 2))
    return pieces


def _brackets(box: FloatArray) -> list[FloatArray]:
    """Return the four corner pieces (3, 2) of a box (4, 2): a third of each side."""
    before, after = np.roll(box, 1, axis=0), np.roll(box, -1, axis=0)
    starts, ends = box + 0.3 * (before - box), box + 0.3 * (after - box)
    return [np.stack(piece) for piece in zip(starts, box, ends, strict=True)]


def _polylines(
    canvas: npt.NDArray[np.uint8],
    strokes: list[Points],
    closed: bool,
    colour: Colour | int,
    width: int,
) -> None:
    cv2.polylines(canvas, strokes, closed, colour, width, cv2.LINE_AA, SHIFT)


def _darken_below(canvas: RgbImage, strokes: list[Points], closed: bool, width: int) -> None:
    """Darken under lines to be: a rim that makes light lines readable on light ground."""
    rim = np.zeros(canvas.shape[:2], dtype=np.uint8)
    _polylines(rim, strokes, closed, 255, width)
    # the faint ends of OpenCV's smoothing reach farther than the eye sees, over the object
    rows, columns = np.nonzero(rim > 32)
    factor = 1 - CASING / 255 * rim[rows, columns].astype(np.float32)
    canvas[rows, columns] = (canvas[rows, columns] * factor[:, None]).astype(np.uint8)
