"""Work on threads keeps its order, looks ahead by a bound, and stops when it is to stop."""

import threading
from threading import Event

import pytest

from sodkit.threads import map_in_order


def test_results_come_in_order_and_a_bounded_number_ahead() -> None:
    read: list[int] = []

    def items():
        for item in range(50):
            read.append(item)
            yield item

    for done, result in enumerate(map_in_order(lambda item: item * 2, items(), 3, ahead=4)):
        assert result == 2 * done
        assert len(read) <= done + 5


@pytest.mark.parametrize("count", [0, 1, 7])
def test_all_items_are_done(count: int) -> None:
    assert list(map_in_order(str, range(count), 2)) == [str(item) for item in range(count)]


def test_an_error_cancels_what_has_not_begun_and_stops_the_rest() -> None:
    stop, begun = Event(), []

    def work(item: int) -> int:
        begun.append(item)
        if item == 0:
            raise KeyboardInterrupt
        assert stop.wait(10)
        return item

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        list(map_in_order(work, range(100), 2, ahead=9, stop=stop))
    assert len(begun) <= 3
    assert threading.active_count() == before


def test_closing_it_stops_the_work() -> None:
    stop = Event()
    results = map_in_order(lambda item: item == 0 or stop.wait(10), range(100), 2, stop=stop)
    assert next(results) is True
    results.close()
    assert stop.is_set()
