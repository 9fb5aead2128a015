"""Changes of PNG chunks, with their checksums put right, and of JPEG segments."""

from __future__ import annotations

import struct
import zlib
from random import Random

from . import spoil_bytes

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"iCCP", b"eXIf", b"acTL", b"zTXt",
          b"fcTL", b"sBIT", b"xxxx")  # fmt: skip
_SIDES = (0, 1, 2, 12, 13, 255, 4000, 32_767, 60_000, 65_535, 999_999, 2**30, 2**31 - 1, 2**32 - 1)


def png(random: Random, data: bytes, other: bytes) -> bytes:
    """Return a PNG with changed chunks."""
    chunks = _chunks(data)
    at = random.randrange(len(chunks))
    kind, body = chunks[at]
    change = random.randrange(7)
    if change == 0:
        del chunks[at]
    elif change == 1:
        chunks.insert(random.randint(0, len(chunks)), (kind, body))
    elif change == 2:
        chunks.insert(at, (random.choice(_KINDS), random.randbytes(random.choice((0, 1, 13, 99)))))
    elif change == 3:
        chunks[at] = (random.choice(_KINDS), body)
    elif change == 4:
        first, header = chunks[0]
        place = random.choice((0, 4))
        side = struct.pack(">I", random.choice(_SIDES))
        chunks[0] = (first, header[:place] + side + header[place + 4 :])
    elif change == 5 and kind == b"IDAT":
        pixels = spoil_bytes.any_change(random, zlib.decompressobj().decompress(body), b"")
        chunks[at] = (kind, zlib.compress(pixels))
    else:
        chunks[at] = (kind, spoil_bytes.any_change(random, body, b""))
    return _SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def jpeg(random: Random, data: bytes, other: bytes) -> bytes:
    """Return a JPEG with changed segments."""
    segments, rest = _segments(data)
    at = random.randrange(len(segments))
    marker, body = segments[at]
    change = random.randrange(7)
    if change == 0:
        del segments[at]
    elif change == 1:
        segments.insert(random.randint(0, len(segments)), (marker, body))
    elif change == 2:
        segments[at] = (random.randrange(0xC0, 0x100), body)
    elif change == 3:
        frames = [i for i, (mark, _) in enumerate(segments) if 0xC0 <= mark <= 0xC3]
        mark, frame = segments[frames[0]]
        place = random.choice((1, 3))
        side = struct.pack(">H", random.choice(_SIDES) & 0xFFFF)
        segments[frames[0]] = (mark, frame[:place] + side + frame[place + 2 :])
    elif change == 4:
        rest = spoil_bytes.any_change(random, rest, b"")
    elif change == 5:
        segments.insert(0, (0xE1, b"Exif\0\0" + _exif(random)))
    else:
        segments[at] = (marker, spoil_bytes.any_change(random, body, b""))
    heads = [struct.pack(">BBH", 255, mark, (len(own) + 2) & 0xFFFF) for mark, own in segments]
    parts = [head + own for head, (_, own) in zip(heads, segments, strict=True)]
    return b"\xff\xd8" + b"".join(parts) + rest


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the segments up to the scan, and what follows them."""
    found, at = [], 2
    while data[at] == 255 and data[at + 1] != 0xD9:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
        if found[-1][0] == 0xDA:
            break
    return found, data[at:]


def _exif(random: Random) -> bytes:
    """Return a TIFF block with an orientation, whole or spoilt."""
    order = random.choice(("<", ">"))
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, random.randrange(10), 0)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    block = head + struct.pack(order + "H", 1) + entry + bytes(4)
    return spoil_bytes.any_change(random, block, b"") if random.random() < 0.5 else block
