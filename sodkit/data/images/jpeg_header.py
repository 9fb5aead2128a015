"""A JPEG's segments up to its frame header: the image's size and the EXIF orientation."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

START = b"\xff\xd8"

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header; the three left out are tables and extensions."""
_HUFFMAN = frozenset((0xC0, 0xC1, 0xC2))
_APP1 = 0xE1
_PX_A_BYTE = 512
"""Most pixels that a byte of a Huffman-coded JPEG can hold: of a component in full resolution, a
block of 64 takes a bit or more."""


def jpeg_frame(file: BinaryIO) -> tuple[int, int, int, int, int]:
    """Return width, height, EXIF orientation 1..8, bits of a sample and least bytes of a JPEG.

    Raises:
        struct.error: if the file ends before the frame, or is broken.
    """
    file.seek(len(START))
    turned = 1
    for kind, length in _segments(file):
        if kind in _FRAMES:
            bits, height, width = struct.unpack(">BHH", file.read(5))
            least = width * height // _PX_A_BYTE if kind in _HUFFMAN else 0
            return width, height, turned, bits, least
        if kind == _APP1 and turned == 1:
            turned = _exif(file, length)
    raise struct.error("no frame")


def _segments(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield marker and body length of a JPEG's segments, the file at the start of the body."""
    while True:
        (marker,) = struct.unpack(">H", file.read(2))
        while marker == 0xFFFF:  # fill bytes
            marker = 0xFF00 | struct.unpack(">B", file.read(1))[0]
        if marker >> 8 != 0xFF:
            raise struct.error("no marker")
        (length,) = struct.unpack(">H", file.read(2))
        if length < 2:  # it counts itself
            raise struct.error("no length")
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
