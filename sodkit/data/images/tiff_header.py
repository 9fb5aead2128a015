"""A TIFF's first directory: the image's size, and whether its samples are such as can be decoded.

TIFF 6.0 and BigTIFF, whose counts and offsets have 8 bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _BANDS, _FORMAT = 256, 257, 258, 259, 277, 339
_NUMBERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
"""Types of a field that hold a whole number, as ``struct`` names them."""
_COMPRESSIONS = frozenset((1, 2, 3, 4, 5, 7, 8, 32773, 32946))
"""None, the CCITT ones, LZW, JPEG, deflate, PackBits."""
_KINDS = {2: "signed whole", 3: "floating-point", 5: "complex whole", 6: "complex"}
_FLOAT = _KINDS[3]
_MOST_FIELDS = 4096
_PHOTOMETRIC, _ORIENTATION, _TILE_WIDTH, _GEO_KEYS = 262, 274, 322, 34735
_GREY, _RGB, _YCBCR = 1, 2, 6


@dataclass(frozen=True, slots=True)
class Layout:
    """How a TIFF is stored.

    Attributes:
        width, height: in px.
        bands: how many.
        tiled: in tiles, else in rows.
        georeferenced: it is a GeoTIFF.
        trouble: why its pixels cannot be read, the number of bands apart; None: they can.
        plain: grey or colours from the left top corner: no palette, not inverted or turned.
        ycbcr: colours are stored as brightness and two differences.
    """

    width: int
    height: int
    bands: int
    tiled: bool
    georeferenced: bool
    trouble: str | None
    plain: bool
    ycbcr: bool


def tiff_layout(path: Path) -> Layout | None:
    """Return how a TIFF is stored; None: it is none, or its directory cannot be read."""
    try:
        with path.open("rb") as file:
            if file.read(4) not in STARTS:
                return None
            fields = _fields(file)
            width, height = fields[_WIDTH], fields[_HEIGHT]
    except (OSError, struct.error, ValueError, OverflowError, KeyError):
        return None
    bits, plain = fields.get(_BITS, 1), fields.get(_PHOTOMETRIC) in (_GREY, _RGB, _YCBCR)
    return Layout(
        width, height, fields.get(_BANDS, 1), _TILE_WIDTH in fields, _GEO_KEYS in fields,
        _trouble(fields, bits, 1), plain and fields.get(_ORIENTATION, 1) == 1 and bits >= 8,
        fields.get(_PHOTOMETRIC) == _YCBCR,
    )  # fmt: skip


def tiff_frame(file: BinaryIO) -> tuple[int, int, int, str | None]:
    """Return width, height, bits of a sample, and why it cannot be decoded (None if it can).

    Raises:
        struct.error: if the file ends before the directory, or is broken.
    """
    fields = _fields(file)
    if _WIDTH not in fields or _HEIGHT not in fields:
        raise struct.error("no size")
    bits, bands = fields.get(_BITS, 1), fields.get(_BANDS, 1)
    return fields[_WIDTH], fields[_HEIGHT], bits, _trouble(fields, bits, bands)


def _trouble(fields: dict[int, int], bits: int, bands: int) -> str | None:
    kind = _KINDS.get(fields.get(_FORMAT, 1))
    if bands not in (1, 2, 3, 4):
        return f"the image has {bands} bands"
    if kind is not None and not (kind == _FLOAT and bits == 32):
        return f"the image has {kind} samples of {bits} bits"
    if kind is None and bits not in (1, 2, 4, 8, 16):
        return f"the image has samples of {bits} bits"
    if fields.get(_COMPRESSION, 1) not in _COMPRESSIONS:
        return (
            f"the TIFF is compressed in a way that cannot be read (number {fields[_COMPRESSION]})"
        )
    return None


def _fields(file: BinaryIO) -> dict[int, int]:
    """Return the first value of every field of whole numbers, by tag."""
    file.seek(0)
    start = file.read(16)
    order = "<" if start[:2] == b"II" else ">"
    big = start[2:4] in (b"+\0", b"\0+")
    place, size = ("Q", 8) if big else ("I", 4)
    (offset,) = struct.unpack_from(order + place, start, 8 if big else 4)
    file.seek(offset)
    head = order + ("Q" if big else "H")
    (count,) = struct.unpack(head, file.read(struct.calcsize(head)))
    if count > _MOST_FIELDS:
        raise struct.error("too many fields")
    entry = 4 + 2 * size
    table = file.read(count * entry)
    fields: dict[int, int] = {}
    for index in range(count):
        tag, kind, number = struct.unpack_from(f"{order}HH{place}", table, index * entry)
        if kind not in _NUMBERS or number == 0:
            continue
        code = order + _NUMBERS[kind]
        length = struct.calcsize(code)
        at = index * entry + 4 + size
        if number * length <= size:
            fields[tag] = int(struct.unpack_from(code, table, at)[0])
        else:
            file.seek(struct.unpack_from(order + place, table, at)[0])
            fields[tag] = int(struct.unpack(code, file.read(length))[0])
    return fields
