"""Changes of plain bytes."""

from __future__ import annotations

from random import Random

_NUMBERS = (
    0, 1, 2, 3, 7, 8, 15, 16, 127, 128, 255, 256, 1023, 4096, 32767, 32768, 65535, 65536, 999_999,
    2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
_PIECES = (b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b"\0" * 64, b"\xff" * 64, b"A" * 5000)


def any_change(random: Random, data: bytes, other: bytes) -> bytes:
    """Return ``data`` with one change."""
    change = random.choice((_flip, _flip, _set, _insert, _delete, _repeat, _cut, _splice, _number))
    return change(random, data, other)


def _flip(random: Random, data: bytes, other: bytes) -> bytes:
    if not data:
        return b"\1"
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _set(random: Random, data: bytes, other: bytes) -> bytes:
    start, stop = _span(random, data, 16)
    return data[:start] + random.randbytes(stop - start) + data[stop:]


def _insert(random: Random, data: bytes, other: bytes) -> bytes:
    at = random.randint(0, len(data))
    piece = random.choice((*_PIECES, random.randbytes(random.randint(1, 40))))
    return data[:at] + piece + data[at:]


def _delete(random: Random, data: bytes, other: bytes) -> bytes:
    start, stop = _span(random, data, 200)
    return data[:start] + data[stop:]


def _repeat(random: Random, data: bytes, other: bytes) -> bytes:
    start, stop = _span(random, data, 200)
    return data[:stop] + data[start:stop] * random.choice((1, 2, 50)) + data[stop:]


def _cut(random: Random, data: bytes, other: bytes) -> bytes:
    return data[: random.randint(0, len(data))]


def _splice(random: Random, data: bytes, other: bytes) -> bytes:
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _number(random: Random, data: bytes, other: bytes) -> bytes:
    """Overwrite some bytes with a number that is a limit of something."""
    width = random.choice((1, 2, 4, 8))
    value = random.choice(_NUMBERS) % 256**width
    # Half of them near the start, where headers are.
    last = max(len(data) - width, 0)
    at = random.randint(0, last if random.random() < 0.5 else min(last, 64))
    text = value.to_bytes(width, random.choice(("little", "big")))  # type: ignore[arg-type]
    return data[:at] + text + data[at + width :]


def _span(random: Random, data: bytes, longest: int) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.randint(1, longest))
