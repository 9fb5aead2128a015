"""Image files as RGB arrays: reading with checks, writing all or nothing.

Decoding is OpenCV's: no torch needed, every common format, EXIF orientation under our control.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from sodkit.data.images.decode_into import decode_into
from sodkit.data.images.deep import to_8_bits
from sodkit.data.images.image_size import LONGEST_WRITTEN, PNG, header_size, read_header
from sodkit.data.images.png_chunks import pixel_chunks
from sodkit.errors import DataError, DataWarning, ImageError, ImageSizeError
from sodkit.files import write_bytes

RgbImage = npt.NDArray[np.uint8]
Order = Literal["rgb", "bgr"]

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
_FILLED = 128


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image, upright; JPEG and PNG are not decoded for it.

    Raises:
        DataError: missing or undecodable file.
    """
    return header_size(path) or _size(read_image(path))


def read_image(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    order: Order = "rgb",
    into: RgbImage | None = None,
    bit_depth: int | None = None,
) -> RgbImage:
    """Read an image as (H, W, 3) uint8; greyscale is repeated, alpha dropped.

    Values of more than 8 bits are scaled, see ``deep``. A JPEG that lacks its end is read as far as
    it goes, if that is half of it or more, with a ``DataWarning``. An EXIF orientation is applied,
    unless ``size`` says that the annotations were made on the unrotated pixels.

    Args:
        path: the file.
        size: (width, height) that the annotations state, None: not known.
        order: of the channels; "bgr" saves a pass if the image goes back to a file.
        into: (H, W, 3) uint8, contiguous: memory that the pixels may be put into, which saves much
            of the time; only with ``size``. The result is this array, or a new one.
        bit_depth: bits 8..16 in use of an image of more than 8 bits; None: by its own range.

    Raises:
        DataError: missing or undecodable file, a size other than stated, or a value outside
            ``bit_depth``.
    """
    bits = _check(path, size)
    if size is not None:
        fits = into is not None and into.shape == (size[1], size[0], 3)
        if into is not None and fits and decode_into(path, into, order):
            return into
    data = _bytes(path)
    image = _decode(data, order, bits, path)
    upright = _size(image)
    if size is not None and upright == size[::-1] != size:
        image = _decode(data, order, bits, path, cv2.IMREAD_IGNORE_ORIENTATION)
    if size is not None and _size(image) != size:
        raise _wrong_size(path, upright, size)
    return to_8_bits(image, bit_depth, path)


def read_raw(path: Path) -> npt.NDArray[Any]:
    """Read an image as its file has it: (H, W) or (H, W, C), of any depth.

    Raises:
        DataError: missing or undecodable file.
    """
    _check(path, None)
    return _decoded(_bytes(path), cv2.IMREAD_UNCHANGED, path)


def _bytes(path: Path) -> npt.NDArray[np.uint8]:
    """Return the bytes (N,) of an image file that its decoder needs."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise ImageError(f"image cannot be read: {error.strerror}", where=path) from error
    return pixel_chunks(data, path) if data[: len(PNG)].tobytes() == PNG else data


def write_image(path: Path, image: RgbImage, *, quality: int = 95, order: Order = "rgb") -> None:
    """Write (H, W, 3) uint8 in the format of the suffix; ``quality`` 1..100 is for JPEG."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if order == "rgb" else image
    is_jpeg = path.suffix.lower() in {".jpg", ".jpeg"}
    # OpenCV warns on stderr about an option that the format does not know
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if is_jpeg else []
    data = encode(path.suffix, pixels, options, path)
    write_bytes(path, np.ascontiguousarray(data).data.cast("B"))


def encode(
    suffix: str, bgr: npt.NDArray[Any], options: list[int], where: str | Path
) -> npt.NDArray[np.uint8]:
    """Return (H, W, 3) uint8 in OpenCV's order of channels as the bytes (N,) of an image file.

    Args:
        suffix: which format, such as ``.jpg``.
        bgr: the pixels.
        options: OpenCV's, of that format.
        where: what it is, for messages.

    Raises:
        DataError: if the format cannot hold it.
    """
    height, width = bgr.shape[:2]
    longest = LONGEST_WRITTEN.get(suffix.lower())
    if longest is not None and max(height, width) > longest:
        raise DataError(
            f"an image of {width} x {height} px cannot be written as {suffix}, it holds {longest} "
            "px a side",
            where=where,
        )
    try:
        done, data = cv2.imencode(suffix, bgr, options)
    except cv2.error as error:
        raise DataError(f"image cannot be encoded: {error.err}", where=where) from error
    if not done:
        raise DataError("image cannot be encoded", where=where)
    return np.asarray(data, np.uint8)


def check_size(path: Path, size: tuple[int, int]) -> None:
    """Check an image's size as far as its header says, without decoding it.

    Args:
        path: the file.
        size: (width, height) that the annotations state.

    Raises:
        DataError: missing or broken file, one that cannot be decoded, or a JPEG or PNG whose header
            states neither ``size`` nor its transpose.
    """
    _check(path, size)


def _check(path: Path, size: tuple[int, int] | None) -> int | None:
    """Check what an image's header states, and return its bits a sample, None if not known."""
    header = read_header(path)
    if header is None:
        return None
    if size is not None and header.exact and header.size not in (size, size[::-1]):
        raise _wrong_size(path, header.size, size)
    return header.bits


def _wrong_size(path: Path, have: tuple[int, int], want: tuple[int, int]) -> ImageSizeError:
    return ImageSizeError(
        f"the image has {have[0]} x {have[1]} px, its annotation says {want[0]} x {want[1]}",
        where=path,
        hint="correct width and height in the annotations, or give the right --images folder",
    )


def _decode(
    data: npt.NDArray[np.uint8], order: Order, bits: int | None, path: Path, flags: int = 0
) -> npt.NDArray[Any]:
    """Decode an image as (H, W, 3) of its own depth; ``flags``: further ones of OpenCV's."""
    if bits is not None and bits <= 8:
        color = cv2.IMREAD_COLOR_RGB if order == "rgb" else cv2.IMREAD_COLOR_BGR
        return _decoded(data, color | flags, path)
    if bits == 32:  # OpenCV does not turn floating-point values into three channels itself
        image = np.atleast_3d(_decoded(data, cv2.IMREAD_UNCHANGED, path))
        image = image[..., :3] if image.shape[2] > 2 else np.repeat(image[..., :1], 3, axis=2)
    else:
        # in the order RGB, OpenCV 5.0 decodes a TIFF of 16 bits to noise
        image = _decoded(data, cv2.IMREAD_COLOR_BGR | cv2.IMREAD_ANYDEPTH | flags, path)
    return np.ascontiguousarray(image if order == "bgr" else image[..., ::-1])


def _decoded(data: npt.NDArray[np.uint8], flags: int, path: Path) -> npt.NDArray[Any]:
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
        if image is None and data[:2].tobytes() == JPEG_START:
            image = _cut_off(data, flags, path)
    except cv2.error as error:
        raise ImageError(f"image cannot be decoded: {error.err}", where=path) from error
    if image is None:
        raise ImageError("image cannot be decoded", where=path, hint="is it a whole image file?")
    return np.asarray(image)


def _cut_off(data: npt.NDArray[np.uint8], flags: int, path: Path) -> npt.NDArray[Any] | None:
    """Decode a JPEG that lacks its end as far as it goes; None if nothing can be decoded.

    The decoder fills what is missing with grey of 128.

    Raises:
        ImageError: less than half of the rows are there: most objects would be grey.
    """
    data = np.append(data, np.frombuffer(JPEG_END, np.uint8))
    image = cv2.imdecode(data, flags)
    stored = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or stored is None:
        return None
    whole, there = len(stored), np.flatnonzero((stored != _FILLED).any(axis=(1, 2)))
    rows = whole - 1 - int(there[-1]) if len(there) else whole
    if 2 * rows > whole:
        raise ImageError(
            f"image cannot be decoded: the JPEG breaks off, {whole - rows} of its {whole} rows are "
            "there, less than half",
            where=path,
            hint="copy or download it again",
        )
    warnings.warn(
        f"{path}: the JPEG lacks its end: {rows} of its {whole} rows are grey",
        DataWarning,
        stacklevel=2,
    )
    return np.asarray(image)


def _size(image: npt.NDArray[Any]) -> tuple[int, int]:
    """Return (width, height)."""
    return image.shape[1], image.shape[0]
