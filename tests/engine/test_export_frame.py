"""Sizes of an exported graph: the recipe's windows, or the largest that fit."""

from __future__ import annotations

import pytest

from sodkit.config import load_recipe
from sodkit.engine.export_frame import Frame, frame, input_side
from sodkit.errors import UsageError

RECIPE = load_recipe("cfinet-r50-soda-d")


def test_a_window_becomes_an_input_padded_as_in_prediction() -> None:
    assert input_side(RECIPE) == 1216
    assert input_side(load_recipe("cfinet-r18-demo", ["input.patch=33", "input.scale=1.0"])) == 64
    for sides in ((None, None), (1216, 1216)):
        found = frame(RECIPE, *sides)
        assert found == Frame((800, 800), (650, 650), (1200, 1200), (1216, 1216))
        assert found.factors == (1.5, 1.5)


@pytest.mark.parametrize("side", [32, 640, 992])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.5, 2.0])
def test_windows_of_another_size_are_the_largest_that_fit(side: int, scale: float) -> None:
    recipe = load_recipe("cfinet-r50-soda-d", [f"input.scale={scale}"])
    found = frame(recipe, side, 320)
    longest = max(n for n in range(1, 2000) if int(n * scale + 0.5) <= side)
    assert found.window[0] == longest
    assert found.content[0] == int(longest * scale + 0.5)
    assert found.padded == (side, 320)
    assert found.stride[0] == max(longest - 150, 1)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="multiples of 32"):
        frame(RECIPE, 100, None)
    with pytest.raises(UsageError, match="no window fits into 32 px"):
        frame(load_recipe("cfinet-r50-soda-d", ["input.scale=40"]), 32, 32)
    oriented = load_recipe("cfinet-r50-soda-a")
    with pytest.raises(UsageError, match="unlike in x and y"):
        frame(oriented, 320, 640)
    assert frame(oriented, 640, 640).factors[0] == frame(oriented, 640, 640).factors[1]
