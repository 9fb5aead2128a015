"""How images are cut and their detections merged."""

from __future__ import annotations

from dataclasses import dataclass, field

from sodkit.errors import UsageError
from sodkit.settings import Keep, Recipe


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How images are cut and their detections merged; see ``sodkit predict --help``.

    Attributes:
        size, stride: windows in px; size None: the whole image at once.
        batch: windows a batch.
        keep: score threshold, NMS and limit inside a window.
        merge_nms: IoU above which detections of one class in different patches are one.
        proposals: give this many class-agnostic proposals a patch instead of detections.
        readers: threads that read images and resize windows.
        bit_depth: bits in use of images of more than 8; None: each by its own range.
    """

    size: int | None
    stride: int
    merge_nms: float
    batch: int = 4
    keep: Keep = field(default_factory=Keep)
    proposals: int | None = None
    readers: int = 2
    bit_depth: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None and not 1 <= self.stride <= self.size:
            raise UsageError(
                f"a stride of {self.stride} px for windows of {self.size} px leaves gaps",
                where="--stride", hint="give 1 px to the window's size",
            )  # fmt: skip

    @classmethod
    def of(cls, recipe: Recipe) -> PredictOptions:
        """Return the recipe's own options."""
        return cls(
            size=recipe.input.patch, stride=recipe.input.stride, merge_nms=recipe.merge.nms,
            batch=recipe.schedule.batch, keep=recipe.keep, bit_depth=recipe.input.bit_depth,
        )  # fmt: skip
