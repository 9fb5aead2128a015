"""Dividing numbered work over processes."""

from __future__ import annotations


def share(count: int, part: int, parts: int) -> range:
    """Return the numbers of 0..count-1 that are ``part``'s of ``parts``.

    The parts are ranges that follow each other, and their lengths differ by one at most; where
    there is less work than parts, some are empty.
    """
    return range(count * part // parts, count * (part + 1) // parts)
