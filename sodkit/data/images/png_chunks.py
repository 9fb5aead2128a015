"""A PNG reduced to the chunks that its pixels need.

libpng allocates what a chunk states, sound or not, and writes what it thinks of colour profiles and
texts to the terminal. So the chunks are checked first, and it gets to see only those that matter.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sodkit.data.images.image_size import PNG
from sodkit.errors import ImageError

Bytes = npt.NDArray[np.uint8]

_NEEDED = frozenset((b"tRNS", b"eXIf"))
"""Of the chunks that a decoder may leave out (their names start with a small letter)."""
_WHOLE = "is it a whole image file?"


def pixel_chunks(data: Bytes, path: Path) -> Bytes:
    """Return a PNG without the chunks that its pixels do not need.

    Args:
        data: (N,) the file.
        path: where it is from.

    Returns:
        ``data`` itself if it has no others.

    Raises:
        DataError: the file ends in a chunk or before its last one, or a chunk is damaged.
    """
    spans = list(_needed(data.data, path))
    if len(spans) == 1 and spans[0] == (0, len(data)):
        return data
    return np.concatenate([data[start:end] for start, end in spans])


def _needed(data: memoryview, path: Path) -> Iterator[tuple[int, int]]:
    """Yield the spans to keep: neighbouring chunks in one, up to the image's end."""
    first, at = 0, len(PNG)
    while at < len(data):
        if at + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        name = kind.decode("latin-1")
        if end > len(data):
            raise ImageError(
                f"image cannot be decoded: its chunk {name!r} states {length} bytes, the file ends "
                f"after {max(0, len(data) - at - 8)}",
                where=path,
                hint=_WHOLE,
            )
        if kind[:1].islower() and kind not in _NEEDED:
            if at > first:
                yield first, at
            first = end
        elif zlib.crc32(data[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise ImageError(
                f"image cannot be decoded: its chunk {name!r} is damaged (checksum)", where=path
            )
        at = end
        if kind == b"IEND":
            yield first, at
            return
    raise ImageError(
        "image cannot be decoded: the file ends before its last chunk", where=path, hint=_WHOLE
    )
