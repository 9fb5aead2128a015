"""Random affine maps of a training picture (Ge et al., YOLOX, 2021; mmdetection's RandomAffine)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.images.decoding import RgbImage
from sodkit.data.samples.augmentation import Placed
from sodkit.data.samples.contents import warped
from sodkit.data.samples.draws import Draws
from sodkit.settings.augment import Affine


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """An affine map of a picture.

    Attributes:
        matrix: (2, 3) from the picture's pixels to those of the result.
        size: (height, width) of the result.
    """

    matrix: FloatArray
    size: tuple[int, int]

    def place(self, placed: Placed) -> Placed:
        """Return the boxes in the result."""
        return warped(placed, self.matrix, self.size)

    def render(self, picture: RgbImage, fill: int) -> RgbImage:
        """Return the result (h, w, 3), grey where the picture does not reach."""
        height, width = self.size
        result = cv2.warpPerspective(
            picture, np.vstack([self.matrix, [0, 0, 1]]), (width, height), borderValue=(fill,) * 3
        )
        return np.asarray(result, np.uint8)


def window(left: int, top: int, size: tuple[int, int]) -> Warp:
    """Return the map that cuts a window of ``size`` (height, width) out."""
    return Warp(np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]]), size)


def draw(size: tuple[int, int], settings: Affine, rng: Draws) -> Warp:
    """Draw a map: scaled and turned about the top left corner, then sheared and shifted.

    Args:
        size: (height, width) of the result.
        settings: ranges.
        rng: what is drawn from: rotation, scale, shear and shift along x and y.
    """
    height, width = size
    angle = math.radians(rng.uniform(-settings.rotation, settings.rotation))
    scale = rng.uniform(*settings.scale)
    shear_x, shear_y = (
        math.tan(math.radians(rng.uniform(-settings.shear, settings.shear))) for _ in range(2)
    )
    right = rng.uniform(-settings.shift, settings.shift) * width
    down = rng.uniform(-settings.shift, settings.shift) * height
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) * scale
    linear = np.array([[1.0, shear_x], [shear_y, 1.0]]) @ turn
    return Warp(np.column_stack([linear, [right, down]]), size)
