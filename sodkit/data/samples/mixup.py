"""Mix-up: a second image shines through the first (Zhang et al., ICLR 2018; as in YOLOX, 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sodkit.data.images.decoding import RgbImage
from sodkit.data.samples import transforms
from sodkit.data.samples.augmentation import Placed
from sodkit.data.samples.contents import Contents, shifted
from sodkit.data.samples.draws import Draws
from sodkit.data.samples.mosaic import fit
from sodkit.settings.augment import MixUp


@dataclass(frozen=True, slots=True)
class Partner:
    """How the second image is laid on a picture.

    It is resized to fit ``side``, padded with grey to it, resized by a factor, perhaps mirrored; a
    window of that, black beyond it, is as large as the picture.

    Attributes:
        side: (height, width) that it is resized to fit.
        factor: on that.
        across: mirrored left to right.
        left: of the window.
        top: of the window.
        size: (height, width) of picture and window.
    """

    side: tuple[int, int]
    factor: float
    across: bool
    left: int
    top: int
    size: tuple[int, int]

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) of the second image with its grey padding, resized by the factor."""
        return _times(self.side, self.factor)

    def place(self, contents: Contents) -> Contents:
        """Return what shows of the second image's contents in the picture."""
        factor = fit(contents.placed.size, self.side).scale[0] * self.factor
        placed: Placed = contents.placed.scaled(self.padded, (factor, factor))
        inside = contents.at(placed).seen()
        placed = inside.placed.flipped_across() if self.across else inside.placed
        return inside.at(shifted(placed, -self.left, -self.top, self.size)).seen()

    def render(self, image: RgbImage, picture: RgbImage, fill: int) -> RgbImage:
        """Return the picture (H, W, 3), half and half with the second image."""
        grey = np.full((*self.side, 3), fill, np.uint8)
        fit(image.shape[:2], self.side).paint(image, grey)
        resized = np.empty((*self.padded, 3), np.uint8)
        transforms.resize_into(grey, resized)
        transforms.mirror(resized, across=self.across, down=False)
        height, width = self.size
        seen = resized[self.top : self.top + height, self.left : self.left + width]
        window = np.zeros((height, width, 3), np.uint16)
        window[: seen.shape[0], : seen.shape[1]] = seen
        window += picture
        return (window >> 1).astype(np.uint8)


def draw(size: tuple[int, int], side: tuple[int, int], settings: MixUp, rng: Draws) -> Partner:
    """Draw how a second image is laid on a picture.

    Args:
        size: (height, width) of the picture.
        side: (height, width) that the second image is resized to fit.
        settings: ranges.
        rng: what is drawn from: factor, mirrored or not, top and left of the window where there is
            a choice.
    """
    factor = rng.uniform(*settings.scale)
    across = rng.uniform(0, 1) < settings.flip
    spare = [own - most for own, most in zip(_times(side, factor), size, strict=True)]
    top, left = (int(rng.integers(0, more)) if more > 0 else 0 for more in spare)
    return Partner(side, factor, across, left, top, size)


def _times(size: tuple[int, int], factor: float) -> tuple[int, int]:
    height, width = (max(1, int(side * factor)) for side in size)
    return height, width
