"""Images that a caller gives: arrays and paths, in any order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sodkit.data.images.decoding import RgbImage
from sodkit.data.images.deep import to_8_bits
from sodkit.data.images.pixel_source import PixelSource, file_size, file_source
from sodkit.data.images.raster import check_band_numbers
from sodkit.data.records import ImageRecord
from sodkit.errors import ImageError, UsageError
from sodkit.files import StrPath

ImageLike = npt.NDArray[Any] | StrPath
"""An image's pixels, see ``rgb_of``, or the path of its file."""

_COLOURS, _MOST_BANDS = 3, 4
"""Bands that are understood without being named: grey, grey and alpha, RGB, RGB and alpha."""


class ArraySource:
    """The pixels of an image that is in memory; see ``PixelSource``."""

    def __init__(self, pixels: RgbImage) -> None:
        self._pixels = pixels

    def read(self, start: tuple[int, int], side: int) -> RgbImage:
        """See ``PixelSource``; the result shares the array's memory."""
        x, y = start
        return self._pixels[y : y + side, x : x + side]


def opened(
    item: ImageLike,
    number: int,
    *,
    folder: Path | None = None,
    bands: Sequence[int] | None = None,
    bit_depth: int | None = None,
) -> tuple[ImageRecord, PixelSource]:
    """Return the record and the pixels of an image.

    Args:
        item: an array, or the path of an image file.
        number: the image's id.
        folder: where paths start; None: the current one.
        bands: numbers from 1 of red, green and blue, or of one grey band; None: the first ones.
        bit_depth: see ``to_8_bits``.

    Raises:
        UsageError: it is neither.
        DataError: it is no image, or the file cannot be read.
    """
    if isinstance(item, np.ndarray):
        name = f"image {number}"
        pixels = rgb_of(item, name, bands=bands, bit_depth=bit_depth)
        height, width = pixels.shape[:2]
        return ImageRecord(number, name, width, height), ArraySource(pixels)
    if not isinstance(item, str | os.PathLike):
        raise UsageError(
            f"is a {type(item).__name__}, neither an array nor a path", where=f"image {number}",
            hint="of Pillow: numpy.asarray(image.convert('RGB'))",
        )  # fmt: skip
    path = (folder or Path()) / item
    width, height = file_size(path, bands)
    source = file_source(path, (width, height), bands=bands, bit_depth=bit_depth)
    return ImageRecord(number, str(item), width, height), source


def rgb_of(
    array: npt.NDArray[Any],
    where: str,
    *,
    bands: Sequence[int] | None = None,
    bit_depth: int | None = None,
) -> RgbImage:
    """Return an array of pixels as (H, W, 3) uint8 RGB, as an image file with them is read.

    Args:
        array: (H, W) or (H, W, 1) grey, (H, W, 2) with alpha, (H, W, 3) RGB or (H, W, 4) RGBA; of
            more bands ``bands`` says which. uint8, whole numbers of up to 16 bits, or
            floating-point values of [0, 1] or [0, 255]. OpenCV's images are BGR:
            ``image[..., ::-1]`` is RGB.
        where: what it is, for messages.
        bands: numbers from 1 of red, green and blue, or of one grey band; None: the first ones.
        bit_depth: see ``to_8_bits``.

    Raises:
        ImageError: another shape, type or range, or no pixels.
    """
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ImageError(
            f"an array of shape {array.shape} is no image", where=where,
            hint="give (H, W, 3) RGB or (H, W) grey",
        )  # fmt: skip
    image = array[..., None] if array.ndim == 2 else array
    count = image.shape[2]
    if bands is None and count > _MOST_BANDS:
        channels_first = image.shape[0] in (1, 3)
        raise ImageError(
            f"an array of shape {array.shape} has {count} bands", where=where,
            hint="numpy.moveaxis(image, 0, -1) puts channels last" if channels_first
            else "PredictOptions(bands=...) says which are red, green and blue",
        )  # fmt: skip
    check_band_numbers(bands, count, where)
    _check_values(image, where, bit_depth)
    numbers = bands or ((1,) if count < _COLOURS else (1, 2, 3))
    chosen = to_8_bits(image[..., [number - 1 for number in numbers]], bit_depth, where)
    return np.ascontiguousarray(np.broadcast_to(chosen, (*chosen.shape[:2], _COLOURS)))


def _check_values(image: npt.NDArray[Any], where: str, bit_depth: int | None) -> None:
    """Raise ImageError for values that no image file has."""
    if image.dtype.kind not in "buif":
        raise ImageError(f"an array of {image.dtype} holds no pixels", where=where)
    low, high = float(image.min()), float(image.max())
    highest = 65535 if image.dtype.kind in "ui" or bit_depth is not None else 255
    if not (low >= 0 and high <= highest):  # also not a number
        raise ImageError(
            f"an array of {image.dtype} with values of {low:g} to {high:g}", where=where,
            hint="give uint8, whole numbers of 0 to 65535, or floating-point values of 0 to 1 or 0"
            " to 255, without subtracting mean and std",
        )  # fmt: skip
