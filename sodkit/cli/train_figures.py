"""Figures of a training over the last steps: means of losses, speed, positives by size class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sodkit.data.sizes import SIZE_NAMES

if TYPE_CHECKING:
    from torch import Tensor

    from sodkit.engine.reports import StepReport

SHOWN = SIZE_NAMES[:4]
"""Size classes whose positives are shown."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over some steps.

    Attributes:
        losses: by name.
        speed: images a second, None: unknown.
        wait: share of the time in which training waited for images, in [0, 1]; None: unknown.
        positives: positive anchors an object, for each of ``SHOWN``; None: no object, or unknown.
    """

    losses: dict[str, float]
    speed: float | None
    wait: float | None
    positives: tuple[float | None, ...]


class Means:
    """Collects steps, without waiting for the device."""

    def __init__(self) -> None:
        self._losses: dict[str, float] = {}
        self._steps = self._images = 0
        self._seconds = self._wait = 0.0
        self._positives: Tensor | None = None

    def add(self, report: StepReport) -> None:
        """Take a step."""
        for name, value in report.losses.items():
            self._losses[name] = self._losses.get(name, 0.0) + value
        self._steps += 1
        self._images += report.images
        self._seconds += report.seconds
        self._wait += report.wait
        if report.positives is not None:
            before = self._positives
            self._positives = report.positives if before is None else before + report.positives

    def figures(self) -> Figures:
        """Return the means of the steps so far, one or more; this waits for the device."""
        counted = self._positives
        columns = [] if counted is None else counted.T.tolist()[: len(SHOWN)]
        positives = tuple(found / objects if objects else None for objects, found in columns)
        known = self._seconds > 0
        return Figures(
            losses={name: value / self._steps for name, value in self._losses.items()},
            speed=self._images / self._seconds if known and self._images else None,
            wait=self._wait / self._seconds if known else None,
            positives=positives or (None,) * len(SHOWN),
        )


def speed_text(figures: Figures) -> str:
    """Return images a second for people."""
    return "-" if figures.speed is None else f"{figures.speed:.3g}"


def wait_text(figures: Figures) -> str:
    """Return the share of waiting for people."""
    return "-" if figures.wait is None else f"{figures.wait:.0%}"


def positive_texts(figures: Figures) -> list[str]:
    """Return positives an object of each size class for people."""
    return ["-" if value is None else f"{value:.1f}" for value in figures.positives]


def memory_text(used: int | None) -> str:
    """Return bytes for people."""
    return "-" if used is None else f"{used / 1e9:.1f} GB"
