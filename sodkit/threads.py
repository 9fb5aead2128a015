"""Work on threads, in order: a few items ahead, so that memory stays bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(
    work: Callable[[T], R],
    items: Iterable[T],
    threads: int,
    *,
    ahead: int | None = None,
    stop: Event | None = None,
) -> Generator[R, None, None]:
    """Yield ``work(item)`` of each item, in the order of the items.

    An exception, Ctrl-C among them, or the generator's end cancels what has not begun, and waits
    for what has.

    Args:
        work: called on threads.
        items: read only as far as they are needed.
        threads: how many.
        ahead: items that are begun or wait behind the one that is yielded; None: two a thread.
        stop: set when the generator ends, so that work that has begun can end early.
    """
    most = 2 * threads if ahead is None else ahead
    pending: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > most:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
            if stop is not None:
                stop.set()
