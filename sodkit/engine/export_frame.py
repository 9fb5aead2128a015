"""Sizes of an exported graph: of the windows that are cut, of what they become, of the input."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sodkit.data.samples.transforms import resized
from sodkit.errors import UsageError
from sodkit.settings import Recipe

_MULTIPLE = 32
"""Of the input's sides: what the coarsest levels of all detectors can take."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Sizes that a graph is made for; all are (x, y) or (width, height).

    Attributes:
        window: of the part of an image that the graph sees at once, px of the image.
        stride: from one window to the next, px of the image.
        content: of the window after resizing.
        padded: of the input: ``content`` and padding, right and bottom.
    """

    window: tuple[int, int]
    stride: tuple[int, int]
    content: tuple[int, int]
    padded: tuple[int, int]

    @property
    def factors(self) -> tuple[float, float]:
        """Factors that a window is resized by: they differ by rounding to whole pixels."""
        return self.content[0] / self.window[0], self.content[1] / self.window[1]


def input_side(recipe: Recipe) -> int:
    """Return the side in px of the network's input that a window of the recipe becomes."""
    return -(-recipe.input.side // recipe.input.pad_to) * recipe.input.pad_to


def frame(recipe: Recipe, width: int | None, height: int | None) -> Frame:
    """Return the sizes of a graph.

    Args:
        recipe: size, stride and factor of the windows.
        width: of the input in px, a multiple of 32; None: that of the recipe's windows. Of another
            width, windows are as wide as fit in, and overlap as much as the recipe's do.
        height: likewise.

    Raises:
        UsageError: sides that are no multiples of 32, or too small for any window; or windows of
            oriented boxes that are not resized alike in both directions.
    """
    sides = (width or input_side(recipe), height or input_side(recipe))
    if min(sides) < 1 or ((width or 0) % _MULTIPLE or (height or 0) % _MULTIPLE):
        raise UsageError(
            f"{sides[1]} x {sides[0]} px",
            hint=f"height and width are multiples of {_MULTIPLE}, at least {_MULTIPLE}",
        )
    x, y = (_window(recipe, side) for side in sides)
    overlap = recipe.input.patch - recipe.input.stride
    content, _ = resized((y, x), recipe.input.scale)
    found = Frame(
        (x, y), (max(x - overlap, 1), max(y - overlap, 1)), (content[1], content[0]), sides
    )
    if recipe.boxes == "oriented" and found.factors[0] != found.factors[1]:
        raise UsageError(
            f"{sides[1]} x {sides[0]} px resize oriented boxes unlike in x and y",
            hint="give the same height and width",
        )
    return found


def _window(recipe: Recipe, side: int) -> int:
    """Return the longest side in px of the image that becomes at most ``side`` px."""
    if side == input_side(recipe):
        return recipe.input.patch
    longest = math.ceil((side + 0.5) / recipe.input.scale)
    while longest > 0 and resized((longest, longest), recipe.input.scale)[0][0] > side:
        longest -= 1
    if longest < 1:
        raise UsageError(
            f"no window fits into {side} px", hint=f"a pixel becomes {recipe.input.scale} px"
        )
    return longest
