"""What is drawn for a training sample, and how image and boxes follow it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sodkit.arrays import BoolArray, FloatArray
from sodkit.data.images.decoding import RgbImage
from sodkit.data.samples import transforms
from sodkit.data.samples.cropping import Window
from sodkit.geometry import rotated
from sodkit.settings import Input


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """All boxes of an image of ``size`` (height, width): (N, 4) xyxy and, if oriented, (N, 5)."""

    size: tuple[int, int]
    xyxy: FloatArray
    obb: FloatArray | None

    @property
    def centres(self) -> FloatArray:
        """Centres (N, 2) of the boxes."""
        if self.obb is not None:
            return self.obb[:, :2]
        return np.asarray((self.xyxy[:, :2] + self.xyxy[:, 2:]) / 2)

    def take(self, kept: BoolArray) -> Placed:
        """Return some of the boxes."""
        return Placed(self.size, self.xyxy[kept], None if self.obb is None else self.obb[kept])

    def cut(self, window: Window) -> Placed:
        """Return the boxes in a window, upright ones clipped to it."""
        obb = None if self.obb is None else window.oriented(self.obb)
        return Placed((window.side, window.side), window.boxes(self.xyxy), obb)

    def scaled(self, size: tuple[int, int], scale: transforms.Scale) -> Placed:
        """Return the boxes of the image resized to ``size`` by ``scale`` (x, y)."""
        obb = None if self.obb is None else rotated.scale(self.obb, scale)
        return Placed(size, transforms.scale_boxes(self.xyxy, scale), obb)

    def flipped_across(self) -> Placed:
        """Mirror left to right."""
        width = self.size[1]
        obb = None if self.obb is None else rotated.flip_horizontal(self.obb, width)
        return Placed(self.size, transforms.flip_horizontal(self.xyxy, width), obb)

    def flipped_down(self) -> Placed:
        """Mirror top to bottom."""
        height = self.size[0]
        obb = None if self.obb is None else rotated.flip_vertical(self.obb, height)
        return Placed(self.size, transforms.flip_vertical(self.xyxy, height), obb)

    def turned(self) -> Placed:
        """Turn clockwise by 90 degrees."""
        height, width = self.size
        obb = None if self.obb is None else rotated.quarter_turn(self.obb, height)
        return Placed((width, height), transforms.quarter_turn(self.xyxy, height), obb)


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
        """Return the boxes of an image, flipped and turned."""
        if self.across:
            placed = placed.flipped_across()
        if self.down:
            placed = placed.flipped_down()
        for _ in range(self.turns):
            placed = placed.turned()
        return placed

    def render(self, image: RgbImage, into: RgbImage) -> None:
        """Resize, flip and turn (H, W, 3) to memory (h, w, 3) of the size that comes out.

        Where nothing is turned the pixels are touched twice at most, and copied nowhere else.
        """
        if self.turns == 0:
            transforms.resize_into(image, into)
            transforms.mirror(into, across=self.across, down=self.down)
            return
        height, width = into.shape[:2]
        upright = (height, width, 3) if self.turns == 2 else (width, height, 3)
        before = np.empty(upright, np.uint8)
        transforms.resize_into(image, before)
        transforms.mirror(before, across=self.across, down=self.down)
        transforms.turn_into(before, self.turns, into)
