"""Values that readers stumble over, as Python objects and as text that stands for itself."""

from __future__ import annotations

from random import Random

STRINGS = (
    "", " ", "a", "0", "-1", "1e999", "nan", "null", "true", "ignore", "IGNORE ", ".", "..", "../x",
    "/etc/hostname", "C:\\x.png", "a\0b", "a/b/c", "a" * 300, "a" * 100_000, "x/" * 3000, "é",
    "\u017f", "\U0001d7d9", "१२", "²", "\u202e", "\ufeff", "\u2028", "\r\n", "%s%n{}", "[red]x[/]",
    "[/]", "1_000", "0x10", "9" * 25, "9" * 5000, "imagenet", "\x1b[31m",
)  # fmt: skip
"""Texts; none names a folder above the input's but by ``..``, so that no reader leaves it far."""

NUMBERS = (
    0, 1, -1, 2, 3, 7, 0.5, -0.5, -0.0, 0.1, 1e-9, 1e-320, 1e9, 1e15, 1e100, 1e200, 1.7e308,
    -1e200, 127, 128, 255, 256, 65_535, 65_536, 999_999, 1_000_000, 1_000_001, 2**31 - 1, 2**31,
    2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30,
)  # fmt: skip


def any_value(random: Random) -> object:
    """Return a value of any type."""
    kind = random.randrange(8)
    if kind < 3:
        return random.choice(NUMBERS)
    if kind < 6:
        return random.choice(STRINGS)
    return random.choice((None, True, False, [], {}, [[]], [None], {"": None}, [1, 2, 3, 4], ["a"]))
