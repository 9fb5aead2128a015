"""The profile of a data set: how many objects of which class and size, and how large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sodkit.arrays import IntArray
from sodkit.data.records import Annotations, BoxKind
from sodkit.data.sizes import SIZE_NAMES, size_index

BINS = (0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 45, 64, 96, 128)
"""Bounds in px of the histogram of absolute sizes: square roots of areas; the last bin is open."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Counts of a data set.

    Attributes:
        kind: horizontal or oriented.
        classes: their names.
        counts: (C, 5) objects by class and size class (``SIZE_NAMES``), also ignored ones.
        histogram: (15,) objects by square root of their area, bounds ``BINS``.
        images: number of images.
        empty: images without object.
        ignored: objects flagged ignore.
        regions: ignore regions.
        most: objects on the fullest image.
    """

    kind: BoxKind
    classes: tuple[str, ...]
    counts: IntArray
    histogram: IntArray
    images: int
    empty: int
    ignored: int
    regions: int
    most: int

    def __repr__(self) -> str:
        return (
            f"<Profile: {self.images} images, {int(self.counts.sum())} objects, "
            f"{len(self.classes)} classes, {self.kind}>"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the profile for JSON."""
        per_class = zip(self.classes, self.counts, strict=True)
        return {
            "boxes": self.kind,
            "images": self.images,
            "images_without_objects": self.empty,
            "objects": int(self.counts.sum()),
            "ignored_objects": self.ignored,
            "ignore_regions": self.regions,
            "most_objects_on_an_image": self.most,
            "per_class": {name: _named(row) for name, row in per_class},
            "per_size": _named(self.counts.sum(axis=0)),
            "size_histogram": [
                {"from": low, "to": high, "objects": int(count)}
                for low, high, count in zip(BINS, (*BINS[1:], None), self.histogram, strict=True)
            ],
        }


def _named(counts: IntArray) -> dict[str, int]:
    return dict(zip(SIZE_NAMES, counts.tolist(), strict=True))


def profile_of(annotations: Annotations) -> Profile:
    """Count what a data set holds."""
    own = annotations.take(~annotations.is_region)
    counts = np.zeros((len(own.categories), len(SIZE_NAMES)), np.int64)
    np.add.at(counts, (own.labels, size_index(own.area)), 1)
    bins = np.searchsorted(np.array(BINS), np.sqrt(own.area), side="right") - 1
    per_image = np.bincount(own.image_index, minlength=len(own.images))
    return Profile(
        kind=own.kind,
        classes=tuple(item.name for item in own.categories),
        counts=counts,
        histogram=np.bincount(bins, minlength=len(BINS)).astype(np.int64),
        images=len(own.images),
        empty=int((per_image == 0).sum()),
        ignored=int(own.ignore.sum()),
        regions=int(annotations.is_region.sum()),
        most=int(per_image.max(initial=0)),
    )
