"""Decoding a JPEG into memory that there is already.

``cv2.imdecode`` decodes into new memory and copies that into an array. Of a photo of 12 megapixels
that is 9000 pages, zeroed by the system, and a third of the time. ``cv2.imread`` can be given the
array, but calls a file that was cut off a success. So it is used only for files with an end, and
not believed: the array is marked, and what still bears the mark has not been decoded.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from sodkit.data.images.image_size import orientation

_START, _END = b"\xff\xd8", b"\xff\xd9"


def decode_into(path: Path, into: npt.NDArray[np.uint8], order: Literal["rgb", "bgr"]) -> bool:
    """Decode an upright JPEG of the array's size into the array.

    Args:
        path: the file.
        into: (H, W, 3) uint8, contiguous; overwritten, if only in part.
        order: of the channels.

    Returns:
        true if the pixels are there; false if the file is to be read in the careful way, which also
        finds out what is wrong with it.
    """
    if not len(into) or not _is_plain(path):
        return False
    mark = _noise()[: into.shape[1] * 3].reshape(-1, 3)
    into[0, : len(mark)] = into[-1, : len(mark)] = mark
    color = cv2.IMREAD_COLOR_RGB if order == "rgb" else cv2.IMREAD_COLOR_BGR
    try:
        image = cv2.imread(str(path), into, color)
    except cv2.error:
        return False  # it has another size
    rows = (into[0, : len(mark)], into[-1, : len(mark)])
    return image is into and not any(np.array_equal(row, mark) for row in rows)


def _is_plain(path: Path) -> bool:
    """Return whether it is a JPEG that is not rotated and has an end.

    Names that are not ASCII are left alone: OpenCV opens them on some systems only.
    """
    try:
        with path.open("rb") as file:
            if not str(path).isascii() or file.read(2) != _START:
                return False
            file.seek(-2, os.SEEK_END)
            return file.read(2) == _END and orientation(path) == 1
    except OSError:
        return False


@cache
def _noise() -> npt.NDArray[np.uint8]:
    """Return what no image has in its first and last row."""
    return np.random.default_rng(0).integers(0, 256, 3 * 65_536, np.uint8)
