"""Colours of classes: fixed, distinct with common colour blindness, bright on most grounds.

The first seven are Okabe and Ito's without black, in another order and a little brighter (thin
lines on photographs need light); the rest fill the gaps between them.
"""

from __future__ import annotations

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (250, 225, 50),
    (86, 190, 245),
    (240, 96, 20),
    (225, 135, 195),
    (10, 190, 135),
    (250, 165, 20),
    (60, 120, 240),
    (180, 240, 110),
    (170, 100, 240),
    (255, 190, 170),
    (60, 225, 225),
    (200, 150, 90),
)
IGNORED: Colour = (200, 200, 205)
"""Outline of what is ignored."""

INK: Colour = (235, 236, 240)
PAPER: Colour = (26, 28, 33)
"""Text and ground of legends."""


def class_colour(label: int) -> Colour:
    """Return the RGB colour of a class index; colours repeat after the palette's end."""
    return PALETTE[label % len(PALETTE)]
