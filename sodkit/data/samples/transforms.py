"""From a patch to the network's input: resize, flip, turn; boxes follow the pixels.

All on numpy arrays. Resizing is OpenCV's bilinear, as in the release, so that released weights
see the pixels they were trained on.
"""

from __future__ import annotations

import cv2
import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.images.decoding import RgbImage

Scale = tuple[float, float]
"""Resize factors (x, y): resized = patch * scale. They differ only by rounding to whole pixels."""


def resize(image: RgbImage, factor: float) -> tuple[RgbImage, Scale]:
    """Resize (H, W, 3) by ``factor``, sides rounded half up.

    Returns:
        the resized image, and the factors that were reached.
    """
    height, width = image.shape[:2]
    new_width, new_height = (max(int(side * factor + 0.5), 1) for side in (width, height))
    if (new_width, new_height) == (width, height):
        return image, (1.0, 1.0)
    resized = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8), (new_width / width, new_height / height)


def pad(image: RgbImage, size: tuple[int, int], fill: tuple[int, int, int]) -> RgbImage:
    """Pad (H, W, 3) right and bottom with a colour to at least ``size`` (width, height)."""
    height, width = image.shape[:2]
    right, bottom = max(size[0] - width, 0), max(size[1] - height, 0)
    if not right and not bottom:
        return image
    padded = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=fill)
    return np.asarray(padded, np.uint8)


def mirrored(image: RgbImage, *, across: bool) -> RgbImage:
    """Mirror (H, W, 3) left to right, or top to bottom.

    In new memory: numpy takes many times as long to copy a mirrored view to its place in a batch.
    """
    return np.asarray(cv2.flip(image, 1 if across else 0), np.uint8)


def scale_boxes(xyxy: FloatArray, scale: Scale) -> FloatArray:
    """Multiply (N, 4) xyxy boxes by (x, y) factors."""
    return np.asarray(xyxy * np.array([*scale, *scale]))


def flip_horizontal(xyxy: FloatArray, width: float) -> FloatArray:
    """Mirror (N, 4) xyxy boxes left to right in an image of ``width``."""
    return np.stack([width - xyxy[:, 2], xyxy[:, 1], width - xyxy[:, 0], xyxy[:, 3]], axis=1)


def flip_vertical(xyxy: FloatArray, height: float) -> FloatArray:
    """Mirror (N, 4) xyxy boxes top to bottom in an image of ``height``."""
    return np.stack([xyxy[:, 0], height - xyxy[:, 3], xyxy[:, 2], height - xyxy[:, 1]], axis=1)


def quarter_turn(xyxy: FloatArray, height: float) -> FloatArray:
    """Turn (N, 4) xyxy boxes clockwise by 90 degrees with an image of ``height`` px."""
    return np.stack([height - xyxy[:, 3], xyxy[:, 0], height - xyxy[:, 1], xyxy[:, 2]], axis=1)
