"""Images of more than 8 bits a channel as 8 bits.

Cameras store 10, 12 or 14 bits in 16: of the upper 8 bits alone such an image would be black or
nearly so. So the bits that an image uses count, unless the user states the depth: then all images
are scaled alike. Floating-point values are scaled by their range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sodkit.errors import ImageError

_MOST = 1 << 16
"""What 16 bits cannot hold."""
_DEPTHS = (8, 10, 12, 14, 16)
"""Bits that cameras use of 16."""
_SHARES, _BYTES = "as 0 to 1", "as 0 to 255"
_OWN = "as its least to its greatest value"


def least_depth(highest: float) -> int:
    """Return the least usual depth in bits that holds a value of up to 65535."""
    return next(depth for depth in _DEPTHS if highest < 1 << depth)


def to_8_bits(
    image: npt.NDArray[Any], depth: int | None = None, where: str | Path | None = None
) -> npt.NDArray[np.uint8]:
    """Return an image of whole or floating-point values as uint8 of the same shape.

    Whole numbers lose the lower bits of the depth. Floating-point values are those of [0, 1], of
    [0, 255] or of the depth, or else of the image's own range; what is not finite becomes 0.

    Args:
        image: any shape; uint8 is returned as it is.
        depth: bits 8..16 that whole numbers have, and floating-point values of [0, 2^depth - 1];
            None: the least usual depth that holds the image's values.
        where: the file, for messages.

    Raises:
        ImageError: a value lies outside the stated depth.
    """
    if image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    return Scaling.of(Range.of(image), depth, where).applied(image)


@dataclass(frozen=True, slots=True)
class Range:
    """What decides how values of more than 8 bits are scaled; of parts of an image joined.

    Attributes:
        whole: they are whole numbers by their type; else floating-point ones.
        low, high: least and greatest value, 0 among them; what is not finite counts as 0.
        fractions: there is a value that is no whole number.
    """

    whole: bool
    low: float
    high: float
    fractions: bool

    @classmethod
    def of(cls, image: npt.NDArray[Any]) -> Range:
        """Return that of an array of any shape."""
        if np.issubdtype(image.dtype, np.integer):
            return cls(True, 0.0, float(image.max(initial=0)), False)
        values = _finite(image)
        low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
        return cls(False, low, high, bool(np.any(values % 1)))

    def joined(self, other: Range) -> Range:
        """Return that of two parts."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Range(self.whole, low, high, self.fractions or other.fractions)


@dataclass(frozen=True, slots=True)
class Scaling:
    """How values become 8 bits: whole numbers lose ``shift`` bits, others [low, high] is 0..255."""

    shift: int | None
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, values: Range, depth: int | None, where: str | Path | None = None) -> Scaling:
        """Return that of an image; raises ImageError as ``to_8_bits`` does."""
        low, high = values.low, values.high
        if values.whole:
            _check_depth(low, high, depth, where)
            return cls((depth or least_depth(high)) - 8)
        if low >= 0 and high <= 1 and (depth is None or values.fractions):
            return cls(None)
        if depth is not None:
            _check_depth(low, high, depth, where)
            return cls(None, 0.0, (1 << depth) - 1)
        if low >= 0 and high <= 255:
            return cls(None, 0.0, 255.0)
        return cls(None, low, high)

    def applied(self, image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return an array of any shape as uint8."""
        if self.shift is not None:
            return (image >> self.shift).astype(np.uint8)
        scaled = (_finite(image) - self.low) / (self.high - self.low) * 255
        return np.asarray(np.rint(scaled), np.uint8)


def _finite(image: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _check_depth(low: float, high: float, depth: int | None, where: str | Path | None) -> None:
    if depth is None or (low >= 0 and high < 1 << depth):
        return
    fits = low >= 0 and high < _MOST
    way = f"--bit-depth {least_depth(high)} holds them" if fits else "leave --bit-depth away"
    raise ImageError(
        f"the image has values of {low:g} to {high:g}, --bit-depth {depth} holds 0 to "
        f"{(1 << depth) - 1}",
        where=where,
        hint=f"{way}; without it each image is scaled by its own range",
    )


@dataclass(frozen=True, slots=True)
class Values:
    """What an image of more than 8 bits a channel holds.

    Attributes:
        bits: of a value in the file.
        channels: how many.
        whole: whole numbers; else floating-point ones.
        low, high: its least and greatest finite value.
    """

    bits: int
    channels: int
    whole: bool
    low: float
    high: float

    @classmethod
    def of(cls, image: npt.NDArray[Any]) -> Values:
        """Return those of (H, W) or (H, W, C)."""
        channels = 1 if image.ndim == 2 else image.shape[2]
        finite = image[np.isfinite(image)]
        whole = bool(np.issubdtype(image.dtype, np.integer))
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        return cls(8 * image.dtype.itemsize, channels, whole, low, high)

    @property
    def form(self) -> tuple[int, int, bool]:
        """What images that can be described together share."""
        return self.bits, self.channels, self.whole

    @property
    def read(self) -> str:
        """How it is read if no depth is stated."""
        if self.whole:
            return f"as {least_depth(self.high)} bits"
        if self.low < 0 or self.high > 255:
            return _OWN
        return _SHARES if self.high <= 1 else _BYTES


def described(images: Sequence[Values]) -> tuple[str, str]:
    """Return what values images of one ``form`` have and how they are read, and what to do.

    Args:
        images: one or more, read without a stated depth.
    """
    bits, channels, whole = images[0].form
    low, high = min(one.low for one in images), max(one.high for one in images)
    kind = "" if whole else "floating-point "
    readings = sorted({one.read for one in images}, key=lambda text: (len(text), text))
    each = "each read by its own range: " if len(readings) > 1 else "read "
    what = (
        f"{bits} bits a channel, {channels} channel{'s'[: channels - 1]}, {kind}values {low:g} to "
        f"{high:g}: {each}{', '.join(readings)}"
    )
    if readings == [_SHARES]:
        return what, "nothing needs to be done if that is their range"
    if low < 0 or high >= _MOST:
        return what, "scale all images alike before they are read, for example to 0 to 255"
    return what, f"--bit-depth {least_depth(high)} reads all images alike, here and in training"
