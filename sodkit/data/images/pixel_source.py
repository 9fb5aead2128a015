"""An image as a place to read windows from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np

from sodkit.data.images.decoding import RgbImage, image_size, read_image
from sodkit.data.images.raster import Raster, check_band_numbers, needs_raster, raster_size
from sodkit.data.images.video import Frame
from sodkit.data.records import ImageRecord
from sodkit.errors import DataError, ImageSizeError


class PixelSource(Protocol):
    """Gives the pixels of an image's windows; several threads may call it at once."""

    def read(self, start: tuple[int, int], side: int) -> RgbImage:
        """Return the window at ``start`` (x, y) as (H, W, 3) uint8 RGB, as far as the image goes.

        Args:
            start: the left top corner in px, inside of the image.
            side: width and height in px.

        Raises:
            DataError: the image cannot be read.
        """
        ...


OpenImage = Callable[[ImageRecord], PixelSource]
"""Gives the source of an image. It raises nothing: what is wrong with the image, ``read`` says."""


class DecodedOnce:
    """An image file that is decoded as a whole when its first window is read.

    Args:
        path: the file.
        size: (width, height) that is stated; another one is an error.
        bands: numbers from 1 of those that are taken as red, green and blue, or of one grey band,
            of the decoded three; None: as they are.
        bit_depth: see ``read_image``.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        bands: Sequence[int] | None = None,
        bit_depth: int | None = None,
    ) -> None:
        self._path, self._size, self._bands, self._bit_depth = path, size, bands, bit_depth
        self._lock = Lock()
        self._pixels: RgbImage | DataError | None = None

    def read(self, start: tuple[int, int], side: int) -> RgbImage:
        """See ``PixelSource``; the result shares the image's memory."""
        with self._lock:
            if self._pixels is None:
                self._pixels = self._decoded()
        if isinstance(self._pixels, DataError):
            raise self._pixels
        x, y = start
        return self._pixels[y : y + side, x : x + side]

    def _decoded(self) -> RgbImage | DataError:
        try:
            image = read_image(self._path, size=self._size, bit_depth=self._bit_depth)
            check_band_numbers(self._bands, image.shape[2], self._path)
        except DataError as error:
            return error
        return _with_bands(image, self._bands)


class FrameSource:
    """A frame of a video, decoded."""

    def __init__(
        self, pixels: RgbImage, size: tuple[int, int], frame: Frame, bands: Sequence[int] | None
    ) -> None:
        height, width = pixels.shape[:2]
        where = f"{frame.path}, frame {frame.number}"
        if (width, height) != size:
            raise ImageSizeError(
                f"it has {width} x {height} px, the first frame {size[0]} x {size[1]}", where=where
            )
        check_band_numbers(bands, pixels.shape[2], frame.path)
        self._pixels = _with_bands(pixels, bands)

    def read(self, start: tuple[int, int], side: int) -> RgbImage:
        """See ``PixelSource``."""
        x, y = start
        return self._pixels[y : y + side, x : x + side]


def _with_bands(image: RgbImage, bands: Sequence[int] | None) -> RgbImage:
    """Return (H, W, 3) with its bands, numbered from 1, chosen and in another order."""
    if bands is None:
        return image
    chosen = image[..., [band - 1 for band in bands]]
    return np.ascontiguousarray(np.broadcast_to(chosen, image.shape))


def file_source(
    path: Path,
    size: tuple[int, int],
    *,
    bands: Sequence[int] | None = None,
    bit_depth: int | None = None,
) -> PixelSource:
    """Return the source of an image file: by windows if it can be, else decoded once.

    Args:
        path: the file.
        size: (width, height) that is stated.
        bands: numbers from 1 of red, green and blue, or of one grey band; None: the first ones.
        bit_depth: see ``read_image``.
    """
    try:
        raster = needs_raster(path, bands)
    except DataError as error:
        return Unreadable(error)
    return (Raster if raster else DecodedOnce)(path, size, bands, bit_depth)


def file_size(path: Path, bands: Sequence[int] | None = None) -> tuple[int, int]:
    """Return (width, height) of an image file without decoding it, if its header states them.

    Raises:
        DataError: it cannot be read.
        MissingExtraError: it can be read with rasterio only, which is not installed.
    """
    return raster_size(path) if needs_raster(path, bands) else image_size(path)


class Unreadable:
    """An image of which it is known that it cannot be read."""

    def __init__(self, error: DataError) -> None:
        self._error = error

    def read(self, start: tuple[int, int], side: int) -> RgbImage:
        """See ``PixelSource``."""
        raise self._error
