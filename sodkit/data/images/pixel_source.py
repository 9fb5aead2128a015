"""An image as a place to read windows from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Protocol

from sodkit.data.images.decoding import RgbImage, read_image
from sodkit.data.records import ImageRecord
from sodkit.errors import DataError


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
        bit_depth: see ``read_image``.
    """

    def __init__(self, path: Path, size: tuple[int, int], bit_depth: int | None = None) -> None:
        self._path, self._size, self._bit_depth = path, size, bit_depth
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
            return read_image(self._path, size=self._size, bit_depth=self._bit_depth)
        except DataError as error:
            return error
