"""The training step that a batch belongs to: the rest of its images may be elsewhere.

A step's images are divided over the processes, and may go through the detector in several parts.
Whatever is counted for the whole step, or kept of it, is asked for here. So the losses and their
gradients are those of all images in one batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Step(Protocol):
    """A training step, as seen by the detector."""

    def total(self, count: int | Tensor, least: float = 1) -> float | Tensor:
        """Return what a sum over the images of this batch is divided by.

        Args:
            count: the positives, samples or images that are counted in this batch; as a tensor an
                int64 scalar, or (N,) of several counts, or a float32 scalar of their weights.
            least: the count over the whole step is taken as this at least.

        Returns:
            the count over the whole step, divided by the number of processes: the gradients, and
            the losses that are reported, are means over the processes.
        """

    def rows(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what all images of the step give, in their order; nothing before the last part.

        All processes must call it, also those that have nothing to give.

        Args:
            features: (N, *shape) of this batch's images, N as they like.
            labels: (N,) int64.
        """


@dataclass(frozen=True, slots=True)
class Whole:
    """The batch is all of its step."""

    def total(self, count: int | Tensor, least: float = 1) -> float | Tensor:
        """Return the count."""
        return count.clamp(min=least) if isinstance(count, Tensor) else max(least, count)

    def rows(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is given."""
        return features, labels


WHOLE = Whole()
