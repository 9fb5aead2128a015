"""The rules of a split, and the two releases' rules as profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sodkit.errors import UsageError

Truncated = Literal["ignore", "drop"]
Ignore = Literal["fill", "flag", "drop"]
Empty = Literal["keep", "skip"]
ImageFormat = Literal["jpg", "png"]
Profile = Literal["soda-d", "soda-a"]
Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """Rules of a split; the defaults are for own data.

    Attributes:
        size: side of a patch in px.
        stride: from one window to the next, 1..size. What is at most size - stride wide and high
            lies whole in some patch.
        min_visible: share 0..1 of an object's area that a patch must show for it to be kept.
        keep_at_min: an object that shows exactly ``min_visible`` is kept.
        truncated: an object that shows less is flagged ignore, or left out.
        ignore: the pixels of ignore regions are painted with ``fill``, or the regions are kept
            and flagged ignore, or left out.
        fill: RGB colour of painted regions.
        padding: RGB colour right of and below an image smaller than a patch.
        empty: patches without an object: kept, skipped, or this share of them kept.
        format: of the patches' files.
        quality: of JPEG, 1..100.
        bit_depth: bits 8..16 in use of images of more than 8; None: each by its own range.
        also: further windows cut from the same images, (size, stride) each: several scales at once.
    """

    size: int = 800
    stride: int = 650
    min_visible: float = 0.5
    keep_at_min: bool = True
    truncated: Truncated = "ignore"
    ignore: Ignore = "flag"
    fill: Rgb = (0, 0, 0)
    padding: Rgb = (0, 0, 0)
    empty: Empty | float = "keep"
    format: ImageFormat = "jpg"
    quality: int = 95
    bit_depth: int | None = None
    also: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for size, stride in ((self.size, self.stride), *self.also):
            _require(1 <= size <= 65_500, "--size", "a patch has 1 to 65500 px")
            _require(1 <= stride <= size, "--stride", "a stride is 1 px to the size")
        sizes = {self.size, *(size for size, _ in self.also)}
        _require(len(sizes) == 1 + len(self.also), "--size", "every size once")
        _require(0 <= self.min_visible <= 1, "--min-visible", "a share is 0 to 1")
        _require(self.truncated in ("ignore", "drop"), "--truncated", "ignore or drop")
        _require(self.ignore in ("fill", "flag", "drop"), "--ignore", "fill, flag or drop")
        share = isinstance(self.empty, float) and 0 <= self.empty <= 1
        _require(share or self.empty in ("keep", "skip"), "--empty", "keep, skip or a share 0 to 1")
        _require(self.format in ("jpg", "png"), "--image-format", "jpg or png")
        _require(1 <= self.quality <= 100, "--quality", "a quality is 1 to 100")
        deep = self.bit_depth is None or 8 <= self.bit_depth <= 16
        _require(deep, "--bit-depth", "a depth is 8 to 16 bits")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings for JSON."""
        content = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        content["also"] = [list(scale) for scale in self.also]
        return content

    @property
    def scales(self) -> tuple[SplitSettings, ...]:
        """The settings of each size by itself."""
        further = (replace(self, size=size, stride=stride, also=()) for size, stride in self.also)
        return replace(self, also=()), *further


def _require(holds: bool, option: str, what: str) -> None:
    if not holds:
        raise UsageError(f"out of range: {what}", where=option)


DEFAULT = SplitSettings()
"""For own data: nothing painted, truncated objects and regions flagged."""

SODA_D = SplitSettings(
    min_visible=0.40, keep_at_min=False, truncated="ignore", ignore="fill", padding=(0, 0, 0)
)
"""The SODA-D release: above .40 kept, else ignored; regions and padding black."""

SODA_A = SplitSettings(
    min_visible=0.70, keep_at_min=True, truncated="drop", ignore="fill", padding=(124, 116, 104)
)
"""The SODA-A release: .70 or more kept, else dropped; regions black, padding of the mean colour.

The release names its padding (104, 116, 124) in OpenCV's order, blue first.
"""

PROFILES: Mapping[Profile, SplitSettings] = {"soda-d": SODA_D, "soda-a": SODA_A}
"""Profiles by the name that ``--profile`` takes."""


def split_settings(
    profile: Profile | None = None,
    *,
    sizes: Sequence[int] = (),
    strides: Sequence[int] = (),
    **changes: Any,
) -> SplitSettings:
    """Return a profile's settings with changes.

    Args:
        profile: whose rules; None: those for own data.
        sizes: sides of the patches in px, several for several scales; empty: the profile's.
        strides: one for every size, in px; empty: the profile's overlap in proportion.
        changes: other fields of ``SplitSettings``; None leaves the profile's value.

    Raises:
        UsageError: not as many strides as sizes, or a value out of range.
    """
    base = DEFAULT if profile is None else PROFILES[profile]
    sizes = sizes or [base.size]
    strides = strides or [max(1, round(size * base.stride / base.size)) for size in sizes]
    if len(strides) != len(sizes):
        raise UsageError("there must be one for every size", where="--stride")
    also = tuple(zip(sizes[1:], strides[1:], strict=True))
    given = {key: value for key, value in changes.items() if value is not None}
    return replace(base, size=sizes[0], stride=strides[0], also=also, **given)
