"""A training picture put together from several images, or from one with copies of its objects.

Everything is drawn and every box is placed before an image is read, so that the memory of a batch
is known. The order: copies of small objects, mosaic, affine map, mix-up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sodkit.data.images.decoding import RgbImage
from sodkit.data.samples import affine, copy_paste, mixup, mosaic, transforms
from sodkit.data.samples.affine import Warp
from sodkit.data.samples.contents import Contents, joined
from sodkit.data.samples.copy_paste import Copy
from sodkit.data.samples.mixup import Partner
from sodkit.data.samples.mosaic import Tile
from sodkit.settings import Input
from sodkit.settings.augment import Augment

_TRIES = 15
"""So many images are drawn for a mix-up until one has objects."""


@dataclass(frozen=True, slots=True, eq=False)
class Album:
    """The images that pictures are made of.

    Attributes:
        count: how many.
        contents: gives those of image ``number``, in its own pixels.
    """

    count: int
    contents: Callable[[int], Contents]

    def draw(self, rng: np.random.Generator) -> int:
        """Draw an image."""
        return int(rng.integers(0, self.count))

    def draw_with_objects(self, rng: np.random.Generator) -> int:
        """Draw an image that something is learnt from, unless they are rare."""
        for _ in range(_TRIES):
            number = self.draw(rng)
            if self.contents(number).learn.any():
                break
        return number


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """An image of a picture: its number, where it lies, and the copies made in it before."""

    number: int
    tile: Tile
    copies: tuple[Copy, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """How a picture is put together.

    Attributes:
        whole: (height, width) that the parts lie in.
        parts: one, or the four of a mosaic.
        warp: map to the picture; None: the whole is the picture.
        other: number of the image that shines through, and how; None: none does.
        fill: grey where no image is.
        scale: factors (x, y) from patches to the picture, as if nothing were warped.
    """

    whole: tuple[int, int]
    parts: tuple[Part, ...]
    warp: Warp | None
    other: tuple[int, Partner] | None
    fill: int
    scale: transforms.Scale

    def render(self, read: Callable[[int], RgbImage]) -> RgbImage:
        """Return the picture (H, W, 3); ``read`` gives image ``number``, ours to change."""
        picture = np.full((*self.whole, 3), self.fill, np.uint8)
        for part in self.parts:
            image = read(part.number)
            copy_paste.paint(part.copies, image)
            part.tile.paint(image, picture)
        if self.warp is not None:
            picture = self.warp.render(picture, self.fill)
        if self.other is not None:
            number, partner = self.other
            picture = partner.render(read(number), picture, self.fill)
        return picture


def draw(
    first: int, album: Album, settings: Input, factor: float, rng: np.random.Generator
) -> tuple[Mix, Contents]:
    """Draw a picture.

    Args:
        first: number of its first image.
        album: the images.
        settings: what is drawn, and sizes.
        factor: on the recipe's scale.
        rng: what is drawn from.

    Returns:
        how it is put together, and what it shows.
    """
    augment = settings.augment
    numbers = [first]
    if augment.mosaic is not None and rng.uniform(0, 1) < augment.mosaic.share:
        numbers += [album.draw(rng) for _ in range(mosaic.COUNT - 1)]
    images = [_copied(album.contents(number), augment, rng) for number in numbers]
    side = (max(1, round(settings.side * factor)),) * 2
    whole, tiles, warp = _layout([c.placed.size for _, c in images], side, settings, factor, rng)
    shown = joined(
        [one.at(t.place(one.placed, whole)) for (_, one), t in zip(images, tiles, strict=True)]
    ).seen()
    if warp is not None:
        shown = shown.at(warp.place(shown.placed)).seen()
    other = None
    if augment.mixup is not None and rng.uniform(0, 1) < augment.mixup.share:
        number = album.draw_with_objects(rng)
        partner = mixup.draw(shown.placed.size, side, augment.mixup, rng)
        other = (number, partner)
        shown = joined([shown, partner.place(album.contents(number))])
    each = zip(numbers, tiles, images, strict=True)
    parts = tuple(Part(number, tile, copies) for number, tile, (copies, _) in each)
    scale = tiles[0].scale if len(parts) == 1 else (settings.scale * factor,) * 2
    return Mix(whole, parts, warp, other, augment.fill, scale), shown.thick()


def _copied(
    contents: Contents, augment: Augment, rng: np.random.Generator
) -> tuple[tuple[Copy, ...], Contents]:
    """Return copies of an image's objects, and its contents with them."""
    if augment.copy_paste is None:
        return (), contents
    return copy_paste.draw(contents, augment.copy_paste, rng)


def _layout(
    sizes: list[tuple[int, int]],
    side: tuple[int, int],
    settings: Input,
    factor: float,
    rng: np.random.Generator,
) -> tuple[tuple[int, int], tuple[Tile, ...], Warp | None]:
    """Draw where images lie: the size of the whole, their tiles, and the map to the picture.

    A mosaic that is not mapped is cut to one side about the point where its images meet.
    """
    augment = settings.augment
    if len(sizes) == 1 or augment.mosaic is None:
        whole, scale = transforms.resized(sizes[0], settings.scale * factor)
        warp = None if augment.affine is None else affine.draw(whole, augment.affine, rng)
        return whole, (Tile(whole, scale),), warp
    whole = (2 * side[0], 2 * side[1])
    centre = mosaic.meeting(side, augment.mosaic, rng)
    tiles = mosaic.tiles(sizes, side, centre)
    if augment.affine is None:
        return whole, tiles, affine.window(*mosaic.cut(whole, side, centre), side)
    return whole, tiles, affine.draw(side, augment.affine, rng)
