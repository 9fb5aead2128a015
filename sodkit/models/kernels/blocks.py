"""Comparing everything with everything in bounded memory: a table is cut into blocks of rows."""

from __future__ import annotations

CELLS = 2**20
"""Pairs compared at once: 4 MB of float32 fit a core's cache, so they are the fastest, too."""


def blocks(rows: int, columns: int) -> list[slice]:
    """Cut a table into slices of rows with at most ``CELLS`` cells, but one row at least."""
    step = max(1, CELLS // max(1, columns))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
