"""How images are cut and their detections merged."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sodkit.errors import UsageError
from sodkit.settings import Keep, MergeMethod, Recipe


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How images are cut and their detections merged; see ``sodkit predict --help``.

    Attributes:
        size, stride: windows in px; size None: the whole image at once.
        batch: windows a batch.
        keep: score threshold, NMS and limit inside a window.
        merge_nms: overlap above which detections of one class in different patches are one.
        merge: how they are merged, see ``tiling/merge_methods.py``.
        class_scores: least score of each class of the detector, by label, after merging; None: what
            ``keep`` lets through stays. Merging and limits see all of it.
        border: px from a window's border in which it counts as cutting a box.
        proposals: give this many class-agnostic proposals a patch instead of detections.
        readers: threads that read images and resize windows.
        bit_depth: bits in use of images of more than 8; None: each by its own range.
        bands: numbers from 1 of the bands that are red, green and blue, or of one that is grey;
            None: the first ones.
    """

    size: int | None
    stride: int
    merge_nms: float
    batch: int = 4
    keep: Keep = field(default_factory=Keep)
    proposals: int | None = None
    readers: int = 2
    bit_depth: int | None = None
    bands: tuple[int, ...] | None = None
    merge: MergeMethod = "nms"
    border: float = 4.0
    class_scores: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.size is not None and not 1 <= self.stride <= self.size:
            raise UsageError(
                f"a stride of {self.stride} px for windows of {self.size} px leaves gaps",
                where="--stride", hint="give 1 px to the window's size",
            )  # fmt: skip
        if self.bands is not None:
            _check_bands(self.bands, ",".join(map(str, self.bands)))

    @classmethod
    def of(cls, recipe: Recipe) -> PredictOptions:
        """Return the recipe's own options."""
        return cls(
            size=recipe.input.patch, stride=recipe.input.stride, merge_nms=recipe.merge.nms,
            batch=recipe.schedule.batch, keep=recipe.keep, bit_depth=recipe.input.bit_depth,
            merge=recipe.merge.method, border=recipe.merge.border,
        )  # fmt: skip

    def for_proposals(self, number: int) -> PredictOptions:
        """Return the same for so many proposals a patch, whatever their objectness.

        The least score of a recipe is one of detections.
        """
        return replace(self, proposals=number, keep=self.keep.model_copy(update={"score": 0.0}))


def parse_bands(text: str) -> tuple[int, ...]:
    """Return the numbers of bands in text such as ``3,2,1``; else raise UsageError."""
    parts = [part.strip() for part in text.split(",")]
    bands = tuple(int(part) if part.isascii() and part.isdecimal() else 0 for part in parts)
    _check_bands(bands, text)
    return bands


def _check_bands(bands: tuple[int, ...], text: str) -> None:
    if len(bands) not in (1, 3) or min(bands) < 1:
        raise UsageError(
            f"{text!r} is no list of bands", where="--bands",
            hint="give the numbers, from 1, of red, green and blue, such as 3,2,1, or one number",
        )  # fmt: skip
