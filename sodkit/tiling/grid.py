"""Where the windows lie that cut an image into patches."""

from __future__ import annotations


def starts(length: int, size: int, stride: int) -> list[int]:
    """Return where windows start along one side: multiples of the stride, the last moved back.

    Args:
        length: of the image's side in px, >= 1.
        size: of the window, >= 1. An image shorter than it has one window, at 0, to be padded.
        stride: 1..size, so that no pixel is left out.

    Raises:
        ValueError: if a number is out of its range.
    """
    if length < 1 or size < 1 or not 1 <= stride <= size:
        raise ValueError(f"no windows: length {length}, size {size}, stride {stride}")
    if length <= size:
        return [0]
    last = length - size
    return [*range(0, last, stride), last]


def count_windows(width: int, height: int, size: int, stride: int) -> int:
    """Return how many windows ``windows`` lays, without laying them."""
    steps = [-(-max(side - size, 0) // stride) + 1 for side in (width, height)]
    return steps[0] * steps[1]


def windows(width: int, height: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Return the left top corners (x, y) of all windows; x is the outer loop, y the inner.

    Together they cover every pixel; what is at most ``size - stride`` wide and high lies whole in
    one of them.

    Raises:
        ValueError: if a number is out of its range.
    """
    rows = starts(height, size, stride)
    return [(x, y) for x in starts(width, size, stride) for y in rows]
