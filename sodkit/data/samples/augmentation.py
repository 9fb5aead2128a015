"""What is drawn for a training sample, and how image and boxes follow it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.images.decoding import RgbImage
from sodkit.data.samples import transforms
from sodkit.geometry import rotated
from sodkit.settings import Input


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """An image (H, W, 3) with all its boxes: (N, 4) xyxy and, if oriented, (N, 5)."""

    image: RgbImage
    xyxy: FloatArray
    obb: FloatArray | None

    def flipped_across(self) -> Placed:
        """Mirror left to right."""
        width = self.image.shape[1]
        obb = None if self.obb is None else rotated.flip_horizontal(self.obb, width)
        return Placed(
            transforms.mirrored(self.image, across=True),
            transforms.flip_horizontal(self.xyxy, width),
            obb,
        )

    def flipped_down(self) -> Placed:
        """Mirror top to bottom."""
        height = self.image.shape[0]
        obb = None if self.obb is None else rotated.flip_vertical(self.obb, height)
        return Placed(
            transforms.mirrored(self.image, across=False),
            transforms.flip_vertical(self.xyxy, height),
            obb,
        )

    def turned(self) -> Placed:
        """Turn clockwise by 90 degrees."""
        height = self.image.shape[0]
        obb = None if self.obb is None else rotated.quarter_turn(self.obb, height)
        image = np.asarray(cv2.rotate(self.image, cv2.ROTATE_90_CLOCKWISE), np.uint8)
        return Placed(image, transforms.quarter_turn(self.xyxy, height), obb)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is drawn for one sample.

    Attributes:
        factor: on the recipe's scale.
        across: mirrored left to right.
        down: mirrored top to bottom.
        turns: quarter turns clockwise after that, 0 to 3.
    """

    factor: float
    across: bool
    down: bool
    turns: int

    @classmethod
    def draw(cls, settings: Input, rng: np.random.Generator) -> Augmentation:
        """Draw one; with equal settings for flips they do not depend on what else is on."""
        across, down, turned, turn, size = rng.random(5).tolist()
        low, high = settings.scale_range
        return cls(
            factor=low + (high - low) * size,
            across=across < settings.horizontal_flip,
            down=down < settings.vertical_flip,
            turns=1 + int(3 * turn) if turned < settings.quarter_turn else 0,
        )

    def moved(self, placed: Placed) -> Placed:
        """Return an image with its boxes, flipped and turned."""
        if self.across:
            placed = placed.flipped_across()
        if self.down:
            placed = placed.flipped_down()
        for _ in range(self.turns):
            placed = placed.turned()
        return placed
