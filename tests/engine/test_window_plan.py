from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from sodkit.data.records import ImageRecord
from sodkit.engine.window_plan import window_batches
from sodkit.tiling.grid import windows

SIZES = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), max_size=5)


def records(sizes: list[tuple[int, int]]) -> list[ImageRecord]:
    return [ImageRecord(k + 1, f"{k}.png", *size) for k, size in enumerate(sizes)]


@given(SIZES, st.integers(1, 5))
def test_windows_come_in_order_in_full_batches(sizes: list[tuple[int, int]], batch: int) -> None:
    batches = list(window_batches(records(sizes), 96, 64, batch))
    expected = [
        (index, start) for index, size in enumerate(sizes) for start in windows(*size, 96, 64)
    ]
    found = [window for one in batches for window in one]
    assert [(window.image, window.start) for window in found] == expected
    assert all(len(one) == batch for one in batches[:-1])
    lasts = [window.image for window in found if window.last]
    assert lasts == list(range(len(sizes)))


@given(SIZES, st.integers(1, 5), st.data())
def test_a_part_of_a_plan_has_the_same_batches(
    sizes: list[tuple[int, int]], batch: int, data: st.DataObject
) -> None:
    """Those from an image on, and those of one of several processes."""
    images = records(sizes)
    batches = list(window_batches(images, 96, 64, batch))
    first = data.draw(st.integers(0, len(sizes)))
    later = list(window_batches(images, 96, 64, batch, first=first))
    assert later == batches[len(batches) - len(later) :]
    wanted = sum(window.image >= first for one in batches for window in one)
    assert wanted == sum(window.image >= first for one in later for window in one)
    assert not later or any(window.image >= first for window in later[0])
    shares = [list(islice(window_batches(images, 96, 64, batch), k, None, 3)) for k in range(3)]
    assert sum(map(len, shares)) == len(batches)


def test_a_whole_image_is_one_window() -> None:
    (batch,) = window_batches(records([(300, 20), (5, 7)]), None, 64, 4)
    assert [(one.start, one.side, one.last) for one in batch] == [
        ((0, 0), 300, True), ((0, 0), 7, True)
    ]  # fmt: skip
