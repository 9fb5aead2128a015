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

_TURNS = {1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}


def resized(size: tuple[int, int], factor: float) -> tuple[tuple[int, int], Scale]:
    """Return (height, width) times ``factor``, rounded half up, and the factors (x, y) reached."""
    height, width = size
    new_height, new_width = (max(int(side * factor + 0.5), 1) for side in size)
    return (new_height, new_width), (new_width / width, new_height / height)


def resize(image: RgbImage, factor: float) -> tuple[RgbImage, Scale]:
    """Resize (H, W, 3) by ``factor``, sides rounded half up.

    Returns:
        the resized image, and the factors that were reached.
    """
    size, scale = resized(image.shape[:2], factor)
    if size == image.shape[:2]:
        return image, scale
    into = np.empty((*size, 3), np.uint8)
    resize_into(image, into)
    return into, scale


def resize_into(image: RgbImage, into: RgbImage) -> None:
    """Resize (H, W, 3) to memory of its own (h, w, 3), a part of a batch say."""
    if image.shape == into.shape:
        into[:] = image
        return
    cv2.resize(image, into.shape[1::-1], dst=into, interpolation=cv2.INTER_LINEAR)


def pad(image: RgbImage, size: tuple[int, int], fill: tuple[int, int, int]) -> RgbImage:
    """Pad (H, W, 3) right and bottom with a colour to at least ``size`` (width, height)."""
    height, width = image.shape[:2]
    right, bottom = max(size[0] - width, 0), max(size[1] - height, 0)
    if not right and not bottom:
        return image
    padded = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=fill)
    return np.asarray(padded, np.uint8)


def mirror(image: RgbImage, *, across: bool, down: bool) -> None:
    """Mirror (H, W, 3) where it is, left to right, top to bottom, or both.

    In new memory it takes ten times as long, most of it for the system to clear that memory.
    """
    if across or down:
        cv2.flip(image, (-1 if down else 1) if across else 0, dst=image)


def turn_into(image: RgbImage, turns: int, into: RgbImage) -> None:
    """Turn (H, W, 3) clockwise by ``turns`` quarters, 1 to 3, to other memory of its shape."""
    cv2.rotate(image, _TURNS[turns], dst=into)


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
