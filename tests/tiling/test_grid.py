import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodkit.tiling.grid import count_windows, starts, windows


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, [0]),
        (800, [0]),
        (801, [0, 1]),
        (1450, [0, 650]),
        (1455, [0, 650, 655]),
        (4000, [0, 650, 1300, 1950, 2600, 3200]),
    ],
)
def test_starts_are_multiples_with_the_last_moved_back(length: int, expected: list[int]) -> None:
    assert starts(length, 800, 650) == expected


def test_x_is_the_outer_loop() -> None:
    assert windows(1000, 900, 800, 650) == [(0, 0), (0, 100), (200, 0), (200, 100)]


@pytest.mark.parametrize(("length", "size", "stride"), [(0, 8, 8), (9, 8, 9), (9, 8, 0), (9, 0, 0)])
def test_impossible_numbers_are_refused(length: int, size: int, stride: int) -> None:
    with pytest.raises(ValueError, match="no windows"):
        starts(length, size, stride)


@st.composite
def grids(draw: st.DrawFn) -> tuple[int, int, int]:
    size = draw(st.integers(1, 60))
    return draw(st.integers(1, 400)), size, draw(st.integers(1, size))


@given(grids())
def test_every_pixel_is_covered_and_no_window_twice(grid: tuple[int, int, int]) -> None:
    length, size, stride = grid
    found = starts(length, size, stride)
    covered = np.zeros(length, np.bool_)
    for start in found:
        covered[start : start + size] = True
    assert covered.all()
    assert found == sorted(set(found))
    assert found[-1] == max(0, length - size)


@given(grids(), st.floats(0, 1), st.floats(0, 1))
def test_what_fits_the_overlap_lies_whole_in_a_window(
    grid: tuple[int, int, int], extent: float, place: float
) -> None:
    length, size, stride = grid
    side = min(extent * (size - stride), length)
    left = place * (length - side)
    assert any(s <= left and left + side <= s + size for s in starts(length, size, stride))


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 90), st.data())
def test_windows_are_counted_without_being_laid(
    width: int, height: int, size: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, size))
    assert count_windows(width, height, size, stride) == len(windows(width, height, size, stride))
