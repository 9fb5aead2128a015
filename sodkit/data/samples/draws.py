"""What is drawn from: numpy's ``Generator``, or numbers that were drawn before."""

from __future__ import annotations

from typing import Protocol


class Draws(Protocol):
    """What is asked of numpy's ``Generator``."""

    def uniform(self, low: float, high: float, /) -> float:
        """Return a number from ``low`` to ``high``."""

    def integers(self, low: int, high: int, /) -> int:
        """Return a whole number from ``low`` to ``high`` - 1."""
