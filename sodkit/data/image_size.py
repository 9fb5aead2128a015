"""The size of an image from its header, without decoding: JPEG and PNG; others are decoded.

A JPEG's EXIF orientation counts: the size is that of the upright image, as ``read_image`` gives it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sodkit.errors import DataError

_PNG = b"\x89PNG\r\n\x1a\n"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers of a frame header; the three left out are tables and extensions."""
_APP1 = 0xE1


def header_size(path: Path) -> tuple[int, int] | None:
    """Return (width, height) as the header of a JPEG or PNG states it, None if it is neither.

    Raises:
        DataError: if the file is missing or cannot be read, or a JPEG or PNG ends in its header.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            if start == _PNG:
                return _png(file)
            if start[:2] == b"\xff\xd8":
                file.seek(2)
                return _jpeg(file)
            return None
    except FileNotFoundError as error:
        raise DataError("no such image", where=path) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"image cannot be read: {reason}", where=path) from error
    except struct.error as error:
        raise DataError("the image ends in its header", where=path) from error


def _png(file: BinaryIO) -> tuple[int, int]:
    file.seek(16)
    width, height = struct.unpack(">II", file.read(8))
    return width, height


def _jpeg(file: BinaryIO) -> tuple[int, int]:
    """Walk the segments up to the frame header, noting the EXIF orientation on the way."""
    rotated = False
    for kind, length in _segments(file):
        if kind in _FRAMES:
            _, height, width = struct.unpack(">BHH", file.read(5))
            return (height, width) if rotated else (width, height)
        if kind == _APP1:
            rotated = _exif(file, length) in (5, 6, 7, 8) or rotated
    raise struct.error("no frame")


def orientation(path: Path) -> int:
    """Return the EXIF orientation 1..8 of a JPEG; 1 if it has none or is no sound JPEG.

    Raises:
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return 1
        try:
            for kind, length in _segments(file):
                if kind in _FRAMES:
                    return 1
                found = _exif(file, length) if kind == _APP1 else 1
                if found != 1:
                    return found
        except struct.error:
            pass
    return 1


def _segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield marker and body length of a JPEG's segments, the file at the start of the body."""
    while True:
        (marker,) = struct.unpack(">H", file.read(2))
        while marker == 0xFFFF:  # fill bytes
            marker = 0xFF00 | struct.unpack(">B", file.read(1))[0]
        if marker >> 8 != 0xFF:
            raise struct.error("no marker")
        (length,) = struct.unpack(">H", file.read(2))
        start = file.tell()
        yield marker & 0xFF, length - 2
        file.seek(start + length - 2)


def _exif(file: BinaryIO, length: int) -> int:
    """Return the orientation from an APP1 segment's body, 1 if it is none of EXIF."""
    body = file.read(length)
    return _orientation(body[6:]) if body.startswith(b"Exif\0\0") else 1


def _orientation(tiff: bytes) -> int:
    """Return the EXIF orientation 1..8 from a TIFF block, 1 if it has none or is broken."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for index in range(count):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, start + 2 + 12 * index)
            if tag == 0x0112 and kind == 3:
                return int(value)
    except struct.error:
        return 1
    return 1
