"""Colours of classes: fixed, distinct with common colour blindness, bright on most grounds.

The first seven are Okabe and Ito's without black, in another order and a little brighter (thin
lines on photographs need light); five fill the gaps between them. Each of the others is as far as
possible in CIELAB from all before it and from what the legends are drawn in. Classes beyond the
palette have its colours again, and a letter beside them.
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
    (255, 0, 105),
    (0, 255, 0),
    (255, 0, 195),
    (90, 120, 0),
    (165, 0, 255),
    (180, 75, 75),
    (30, 120, 120),
    (0, 255, 135),
    (105, 105, 150),
    (15, 165, 0),
    (255, 255, 180),
    (180, 255, 0),
)
IGNORED: Colour = (200, 200, 205)
"""Outline of what is ignored."""

INK: Colour = (235, 236, 240)
PAPER: Colour = (26, 28, 33)
"""Text and ground of legends."""


def class_colour(label: int) -> Colour:
    """Return the RGB colour of a class index; colours repeat after the palette's end."""
    return PALETTE[label % len(PALETTE)]


def class_letter(label: int) -> str:
    """Return the letter of a class: "" while colours last, then A, B, ..., Z, AA at each repeat."""
    turn, letters = label // len(PALETTE), ""
    while turn > 0:
        turn, digit = divmod(turn - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


def marked(name: str, label: int) -> str:
    """Return a class's name with its letter, if it has one."""
    letter = class_letter(label)
    return f"{name} ({letter})" if letter else name
