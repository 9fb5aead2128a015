"""What a split made of every object of the source: whole, truncated, ignored or lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sodkit.arrays import IntArray
from sodkit.data.records import Annotations, Category
from sodkit.data.sizes import SIZE_NAMES, size_index
from sodkit.table_text import TextTable
from sodkit.tiling.cuts import Cuts, Status
from sodkit.tiling.settings import SplitSettings

OUTCOMES = ("lost", "ignored", "truncated", "whole")
"""The best that a patch makes of an object, from worst to best.

whole: some patch shows all of it that its image shows; truncated: kept, but cut everywhere;
ignored: flagged wherever it shows (also if the source flags it); lost: in no patch's annotations.
"""


@dataclass(frozen=True, slots=True)
class BadImage:
    """An image that could not be read and was left out, with its objects."""

    file_name: str
    reason: str
    objects: int


@dataclass(frozen=True, slots=True, eq=False)
class SplitReport:
    """What a split did.

    Attributes:
        settings: its rules.
        categories: the classes.
        outcomes: (C, 5, 4) objects by class, size class (``SIZE_NAMES``) and ``OUTCOMES``, without
            ignore regions and without those of images that could not be read.
        lost_ids: annotation ids of the first lost objects.
        images: number of images that were split.
        patches: number of patches written.
        skipped: number of windows left out because they show no object.
        annotations: number of annotations written.
        truncated: how many of them are objects that show only a part.
        regions: number of ignore regions of the source.
        bad_images: what could not be read.
    """

    settings: SplitSettings
    categories: tuple[Category, ...]
    outcomes: IntArray
    lost_ids: tuple[int, ...]
    images: int
    patches: int
    skipped: int
    annotations: int
    truncated: int
    regions: int
    bad_images: tuple[BadImage, ...]

    def __repr__(self) -> str:
        objects = ", ".join(f"{self.total(one)} {one}" for one in reversed(OUTCOMES))
        return f"<SplitReport: {self.images} images, {self.patches} patches; objects: {objects}>"

    def total(self, outcome: str) -> int:
        """Return the number of objects with an outcome."""
        return int(self.outcomes[..., OUTCOMES.index(outcome)].sum())

    def table(self) -> TextTable:
        """Return the objects by class and outcome, the best first, as ``sodkit split`` prints."""
        best_first = OUTCOMES[::-1]
        rows: list[tuple[object, ...]] = [
            (item.name, *counts.sum(axis=0)[::-1].tolist())
            for item, counts in zip(self.categories, self.outcomes, strict=True)
        ]
        rows.append(("all", *(self.total(outcome) for outcome in best_first)))
        title = f"{self.patches} patches of {self.images} images"
        return TextTable(title, ("objects", *best_first), rows)

    def _repr_html_(self) -> str:
        return self.table().html()

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON."""
        per_class = zip(self.categories, self.outcomes, strict=True)
        return {
            "settings": self.settings.as_dict(),
            "images": self.images,
            "patches": self.patches,
            "empty_skipped": self.skipped,
            "annotations": self.annotations,
            "truncated_annotations": self.truncated,
            "ignore_regions": self.regions,
            "bad_images": [
                {"file_name": bad.file_name, "reason": bad.reason, "objects": bad.objects}
                for bad in self.bad_images
            ],
            "objects": {
                "total": _named(self.outcomes.sum(axis=(0, 1))),
                "per_class": {
                    item.name: {
                        "total": _named(counts.sum(axis=0)),
                        "per_size": dict(zip(SIZE_NAMES, map(_named, counts), strict=True)),
                    }
                    for item, counts in per_class
                },
                "lost_ids": list(self.lost_ids),
            },
        }


def _named(counts: IntArray) -> dict[str, int]:
    """Name (4,) counts, best first."""
    return dict(zip(reversed(OUTCOMES), counts[::-1].tolist(), strict=True))


def best_outcomes(annotations: Annotations, rows: IntArray, cuts: Cuts) -> IntArray:
    """Return the best that the patches of an image make of each of its objects.

    Args:
        annotations: of the data set.
        rows: (R,) the image's annotations, ascending.
        cuts: the windows that become patches.

    Returns:
        (R,) indices into ``OUTCOMES``; of regions 0.
    """
    outcome = np.where(cuts.whole, OUTCOMES.index("whole"), OUTCOMES.index("truncated"))
    outcome = np.where(cuts.status == Status.IGNORE, OUTCOMES.index("ignored"), outcome)
    written = cuts.written
    best = np.zeros(len(rows), np.int64)
    np.maximum.at(best, np.searchsorted(rows, cuts.rows[written]), outcome[written])
    return np.where(annotations.is_region[rows], 0, best)


def tally(annotations: Annotations, rows: IntArray, best: IntArray) -> IntArray:
    """Count an image's objects (R,) by class, size class and outcome: (C, 5, 4)."""
    counts = np.zeros((len(annotations.categories), len(SIZE_NAMES), len(OUTCOMES)), np.int64)
    objects = ~annotations.is_region[rows]
    chosen = rows[objects]
    sizes = size_index(annotations.area[chosen])
    np.add.at(counts, (annotations.labels[chosen], sizes, best[objects]), 1)
    return counts
