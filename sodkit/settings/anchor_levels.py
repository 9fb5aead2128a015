"""Anchors as numbers: the sizes at each location of a level. No torch: the analysis uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class AnchorLevel:
    """The anchors of one level of the pyramid, in px of the network's input.

    Attributes:
        stride: distance of locations; anchors are centred on (column * stride, row * stride).
        sizes: (width, height) of the anchors at each location, in the order of the head's outputs.
    """

    stride: int
    sizes: tuple[tuple[float, float], ...]


@runtime_checkable
class Anchored(Protocol):
    """Settings of a detector that has anchors: what ``analyze-anchors`` needs."""

    def anchor_levels(self) -> tuple[AnchorLevel, ...]:
        """Return the anchors of each level, the finest first."""


def levels(
    strides: Sequence[int], scales: Sequence[float], ratios: Sequence[float]
) -> tuple[AnchorLevel, ...]:
    """Return anchors of an area of (scale * stride)^2 for each scale and ratio.

    Args:
        strides: of the levels, px.
        scales: sides of the square anchors, in strides.
        ratios: height / width. All scales of a ratio are adjacent.
    """
    return tuple(
        AnchorLevel(
            stride,
            tuple((s * stride / r**0.5, s * stride * r**0.5) for r in ratios for s in scales),
        )
        for stride in strides
    )


def strides(first: int, count: int) -> tuple[int, ...]:
    """Return the strides of ``count`` levels from ``first`` on, each twice the one before."""
    return tuple(first * 2**level for level in range(count))
