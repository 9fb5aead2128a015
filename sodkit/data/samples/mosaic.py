"""Mosaic: four images around a point (Bochkovskiy et al., YOLOv4, 2020).

::

    +--------+-----------+
    | first  | second    |     each with a corner at the point, cut where the whole ends;
    |        |           |     grey where an image does not reach
    +--------o-----------+
    | third  | fourth    |
    +--------+-----------+
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sodkit.data.images.decoding import RgbImage
from sodkit.data.samples import transforms
from sodkit.data.samples.augmentation import Placed
from sodkit.data.samples.contents import shifted
from sodkit.data.samples.draws import Draws
from sodkit.settings.augment import Mosaic

COUNT = 4


@dataclass(frozen=True, slots=True)
class Tile:
    """Where an image lies in a picture.

    Attributes:
        size: (height, width) that it is resized to.
        scale: factors (x, y) on its boxes.
        left: px of its first column; may be negative.
        top: of its first row.
    """

    size: tuple[int, int]
    scale: transforms.Scale
    left: int = 0
    top: int = 0

    def place(self, placed: Placed, whole: tuple[int, int]) -> Placed:
        """Return an image's boxes in the picture of size ``whole``."""
        return shifted(placed.scaled(self.size, self.scale), self.left, self.top, whole)

    def paint(self, image: RgbImage, picture: RgbImage) -> None:
        """Resize an image into the picture (H, W, 3); what lies beyond it is cut off."""
        height, width = picture.shape[:2]
        tile = np.empty((*self.size, 3), np.uint8)
        transforms.resize_into(image, tile)
        left, right = max(0, self.left), min(width, self.left + self.size[1])
        top, bottom = max(0, self.top), min(height, self.top + self.size[0])
        if left < right and top < bottom:
            rows = slice(top - self.top, bottom - self.top)
            columns = slice(left - self.left, right - self.left)
            picture[top:bottom, left:right] = tile[rows, columns]


def fit(size: tuple[int, int], side: tuple[int, int]) -> Tile:
    """Return an image of ``size`` resized as a whole to fit (height, width) ``side``."""
    factor = min(most / own for most, own in zip(side, size, strict=True))
    height, width = (max(1, int(own * factor)) for own in size)
    return Tile((height, width), (factor, factor))


def meeting(side: tuple[int, int], settings: Mosaic, rng: Draws) -> tuple[int, int]:
    """Draw where the four images meet, (x, y) in the whole, which is twice ``side``."""
    height, width = side
    x = int(rng.uniform(*settings.centre) * width)
    y = int(rng.uniform(*settings.centre) * height)
    return x, y


def tiles(
    sizes: Sequence[tuple[int, int]], side: tuple[int, int], centre: tuple[int, int]
) -> tuple[Tile, ...]:
    """Return where four images lie.

    Args:
        sizes: (height, width) of each.
        side: (height, width) that each is resized to fit.
        centre: (x, y) where they meet.
    """
    x, y = centre
    found = []
    for number, size in enumerate(sizes):
        one = fit(size, side)
        left = x if number % 2 else x - one.size[1]
        top = y if number // 2 else y - one.size[0]
        found.append(Tile(one.size, one.scale, left, top))
    return tuple(found)


def cut(whole: tuple[int, int], side: tuple[int, int], centre: tuple[int, int]) -> tuple[int, int]:
    """Return left and top of a window of ``side`` about the centre, inside the whole."""
    pairs = zip(centre, side[::-1], whole[::-1], strict=True)
    left, top = (min(max(at - own // 2, 0), full - own) for at, own, full in pairs)
    return left, top
