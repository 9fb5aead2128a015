"""Painting shapes into an image: anti-aliased, shaded by the sun, with a shadow, in place."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sodkit.arrays import FloatArray
from sodkit.synthetic.shapes import Shape

RgbImage = npt.NDArray[np.uint8]
SHIFT = 4
"""Fractional bits of the corners given to OpenCV."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a shape lies: centre, length and width in px, angle in radians clockwise (y down)."""

    cx: float
    cy: float
    length: float
    width: float
    angle: float


@dataclass(frozen=True, slots=True)
class Sun:
    """Light: unit vector (x, y) in which shadows fall, and their darkness 0..1."""

    x: float
    y: float
    depth: float


def place(points: FloatArray, pose: Pose) -> FloatArray:
    """Move unit points (K, 2) to image pixels."""
    cos, sin = np.cos(pose.angle), np.sin(pose.angle)
    x, y = points[:, 0] * pose.length, points[:, 1] * pose.width
    return np.stack([pose.cx + x * cos - y * sin, pose.cy + x * sin + y * cos], axis=1)


def outline(shape: Shape, pose: Pose) -> FloatArray:
    """Return every corner of the silhouette in image pixels, (K, 2)."""
    return np.concatenate([place(part, pose) for part in shape.silhouette])


def paint(image: RgbImage, shape: Shape, pose: Pose, sun: Sun, opacity: float = 1.0) -> None:
    """Paint a shape and its shadow into ``image`` in place; ``opacity`` < 1 lowers its contrast."""
    reach = shape.height * pose.width * 0.8
    fall = np.array([sun.x, sun.y]) * reach
    corners = outline(shape, pose)
    low = np.floor(np.minimum(corners, corners + fall).min(axis=0)).astype(int) - 2
    high = np.ceil(np.maximum(corners, corners + fall).max(axis=0)).astype(int) + 3
    low = np.maximum(low, 0)
    high = np.minimum(high, [image.shape[1], image.shape[0]])
    if (high <= low).any():
        return
    canvas = _Canvas(low, high, 8 if max(pose.length, pose.width) < 12 else 4)
    window = image[low[1] : high[1], low[0] : high[0]]
    pixels = window.astype(np.float32)
    if reach > 0:
        shadow = cv2.GaussianBlur(_shadow_mask(canvas, shape, pose, fall), (0, 0), 0.7)
        pixels *= 1 - sun.depth * opacity * shadow[..., None]
    alpha = canvas.mask([place(part, pose) for part in shape.silhouette])[..., None] * opacity
    pixels += alpha * (_colours(canvas, shape, pose, sun) - pixels)
    window[...] = np.clip(pixels + 0.5, 0, 255).astype(np.uint8)


class _Canvas:
    """A window of the image, drawn at ``factor`` times its resolution and averaged down."""

    def __init__(self, low: npt.NDArray[np.int_], high: npt.NDArray[np.int_], factor: int) -> None:
        self.low, self.factor = low, factor
        self.size = (int(high[0] - low[0]), int(high[1] - low[1]))

    def blank(self, colour: tuple[float, ...]) -> npt.NDArray[np.uint8]:
        height, width = self.size[1] * self.factor, self.size[0] * self.factor
        full = np.array(colour, dtype=np.float64).round().astype(np.uint8)
        return np.broadcast_to(full, (height, width, len(colour))).copy()

    def fill(
        self, drawing: npt.NDArray[np.uint8], points: FloatArray, colour: tuple[float, ...]
    ) -> None:
        # OpenCV puts integer coordinates on pixel centres, ours are at pixel corners
        fine = (points - self.low) * self.factor - 0.5
        fixed = np.round(fine * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(drawing, [fixed], colour, lineType=cv2.LINE_8, shift=SHIFT)

    def average(self, drawing: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return cv2.resize(drawing, self.size, interpolation=cv2.INTER_AREA).astype(np.float32)

    def mask(self, parts: list[FloatArray]) -> npt.NDArray[np.float32]:
        drawing = self.blank((0,))
        for part in parts:
            self.fill(drawing, part, (255,))
        return self.average(drawing) / np.float32(255)


def _shadow_mask(
    canvas: _Canvas, shape: Shape, pose: Pose, fall: FloatArray
) -> npt.NDArray[np.float32]:
    """Return the share (H, W) of each pixel in shadow: the silhouette swept along ``fall``."""
    steps = (0.35, 0.7, 1.0)
    parts = [place(part, pose) + step * fall for part in shape.silhouette for step in steps]
    return canvas.mask(parts)


def _colours(canvas: _Canvas, shape: Shape, pose: Pose, sun: Sun) -> npt.NDArray[np.float32]:
    """Return the shape's colours (H, W, 3), lit from the side the shadow does not fall to."""
    drawing = canvas.blank(shape.base)
    for layer in shape.layers:
        canvas.fill(drawing, place(layer.points, pose), layer.colour)
    colours = canvas.average(drawing)
    columns = (np.arange(canvas.size[0]) + canvas.low[0] + 0.5 - pose.cx) / pose.length
    rows = (np.arange(canvas.size[1]) + canvas.low[1] + 0.5 - pose.cy) / pose.length
    light = 1 - 0.28 * (columns[None, :] * sun.x + rows[:, None] * sun.y)
    return np.asarray(colours * light[..., None], dtype=np.float32)
