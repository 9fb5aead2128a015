"""Image files as RGB arrays: reading with checks, writing all or nothing.

Decoding is OpenCV's: no torch needed, every common format, EXIF orientation under our control.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sodkit.errors import DataError
from sodkit.files import write_bytes

RgbImage = npt.NDArray[np.uint8]


def read_image(path: Path, *, size: tuple[int, int] | None = None) -> RgbImage:
    """Read an image as (H, W, 3) uint8 RGB; greyscale is repeated, alpha dropped.

    An EXIF orientation is applied, unless ``size`` says that the annotations were made on the
    unrotated pixels.

    Args:
        path: the file.
        size: (width, height) that the annotations state, None: not known.

    Raises:
        DataError: missing or undecodable file, or a size other than stated.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"image cannot be read: {error.strerror}", where=path) from error
    image = _decode(data, cv2.IMREAD_COLOR, path)
    if size is None or _size(image) == size:
        return image
    unrotated = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, path)
    if _size(unrotated) == size:
        return unrotated
    have, want = _size(image), size
    raise DataError(
        f"the image has {have[0]} x {have[1]} px, its annotation says {want[0]} x {want[1]}",
        where=path,
        hint="correct width and height in the annotations, or give the right --images folder",
    )


def write_image(path: Path, image: RgbImage, *, quality: int = 95) -> None:
    """Write (H, W, 3) uint8 RGB in the format of the suffix; ``quality`` 1..100 is for JPEG."""
    is_jpeg = path.suffix.lower() in {".jpg", ".jpeg"}
    # OpenCV warns on stderr about an option that the format does not know
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if is_jpeg else []
    done, data = cv2.imencode(path.suffix, image[:, :, ::-1], options)
    if not done:
        raise DataError("image cannot be encoded", where=path)
    write_bytes(path, data.tobytes())


def _decode(data: npt.NDArray[np.uint8], flags: int, path: Path) -> RgbImage:
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error as error:
        raise DataError(f"image cannot be decoded: {error}", where=path) from error
    if image is None:
        raise DataError("image cannot be decoded", where=path, hint="is it a whole image file?")
    return np.ascontiguousarray(image[:, :, ::-1], dtype=np.uint8)


def _size(image: RgbImage) -> tuple[int, int]:
    """Return (width, height)."""
    return image.shape[1], image.shape[0]
