"""The readers of images: JPEG, PNG, BMP, TIFF, WebP; sizes, pixels and the check of a data set."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sodkit.cli.decoders import decoders_quiet
from sodkit.data.checking.check_images import image_findings
from sodkit.data.images.decoding import image_size, read_image
from sodkit.data.records import ImageRecord
from sodkit.errors import DataWarning, SodkitError

from . import made
from .reader import Files, Reader

_SIZE = (made.WIDTH, made.HEIGHT)


def _encoded(suffix: str, *options: int) -> list[bytes]:
    """Return the image in colour and in grey, by OpenCV."""
    own = made.pixels()
    return [
        cv2.imencode(suffix, image, list(options))[1].tobytes() for image in (own, own[:, :, 0])
    ]


def _pillow(kind: str, mode: str, **options: object) -> bytes:
    """Return the image in another colour mode, by Pillow."""
    stream = io.BytesIO()
    Image.fromarray(made.pixels()).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def _jpeg() -> list[bytes]:
    return [
        *_encoded(".jpg"),
        *_encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        _pillow("JPEG", "CMYK"),
        _pillow("JPEG", "RGB", exif=_exif(6)),
        _pillow("JPEG", "RGB", exif=_exif(3)),
    ]


_DEEP = (np.uint16, np.float32)
_LZW = (cv2.IMWRITE_TIFF_COMPRESSION, 5)
"""Said outright: OpenCV 4.12 packs floats as LogLuv by itself, which loses values."""


def _png() -> list[bytes]:
    deep = cv2.imencode(".png", made.pixels().astype(np.uint16) * 257)[1].tobytes()
    return [
        *_encoded(".png"), deep, _pillow("PNG", "P"), _pillow("PNG", "RGBA"), _pillow("PNG", "1"),
        _pillow("PNG", "RGB", exif=_exif(6)),
    ]  # fmt: skip


def _tiff() -> list[bytes]:
    kinds = (None, "tiff_lzw", "tiff_deflate", "jpeg", "packbits")
    packed = [_pillow("TIFF", "RGB", compression=kind) for kind in kinds]
    deep = [cv2.imencode(".tif", made.pixels().astype(kind), _LZW)[1] for kind in _DEEP]
    packed += [data.tobytes() for data in deep]
    return [*_encoded(".tif"), *packed, _pillow("TIFF", "RGBA"), _pillow("TIFF", "1")]


def _webp() -> list[bytes]:
    return [
        *_encoded(".webp", cv2.IMWRITE_WEBP_QUALITY, 80),
        _pillow("WEBP", "RGB", lossless=True),
        _pillow("WEBP", "RGBA", exif=_exif(6)),
    ]


def _bmp() -> list[bytes]:
    return [*_encoded(".bmp"), _pillow("BMP", "P"), _pillow("BMP", "1"), _pillow("BMP", "RGBA")]


def _named(suffix: str, make: Callable[[], list[bytes]]) -> Reader:
    name = f"a.{suffix}"

    def valid() -> tuple[Files, ...]:
        return tuple({name: data} for data in make())

    def call(folder: Path) -> None:
        # As in a command: what the decoders write past Python is summed up, anything else is not.
        with redirect_stderr(io.StringIO()), decoders_quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # of a JPEG that is cut off
            _look(folder, name)

    return Reader(suffix, valid, call)


def _look(folder: Path, name: str) -> None:
    """Look at an image in every way; an error in one of them does not spare the others."""
    into = np.zeros((made.HEIGHT, made.WIDTH, 3), np.uint8)
    errors: list[SodkitError] = []
    ways: tuple[Callable[[], object], ...] = (
        lambda: image_size(folder / name),
        lambda: read_image(folder / name),
        lambda: read_image(folder / name, size=_SIZE, order="bgr", into=into),
        lambda: read_image(folder / name, bit_depth=16),
        lambda: list(image_findings([ImageRecord(1, name, *_SIZE)], folder, workers=1)),
    )
    for way in ways:
        try:
            way()
        except SodkitError as error:
            errors.append(error)
    if errors:
        raise errors[0]


READERS = (
    _named("jpg", _jpeg),
    _named("png", _png),
    _named("bmp", _bmp),
    _named("tif", _tiff),
    _named("webp", _webp),
)
