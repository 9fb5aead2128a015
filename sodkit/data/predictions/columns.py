"""A file of predictions as columns, before anything in it is checked against annotations."""

from __future__ import annotations

from dataclasses import dataclass

from sodkit.arrays import FloatArray, IntArray

KINDS = {"obb": 5, "poly": 8, "bbox": 4}
"""Fields of boxes and how many numbers they have; the first that a record has is its box."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A predictions file as columns, unchecked.

    Attributes:
        image_id: (N,) ids of images.
        category_id: (N,) the data set's ids of classes, None if the file has none.
        score: (N,).
        boxes: (N, 4) xywh, (N, 5) obb or (N, 8) corners, by ``kind``.
        kind: the field the boxes come from: "bbox", "obb" or "poly".
    """

    image_id: IntArray
    category_id: IntArray | None
    score: FloatArray
    boxes: FloatArray
    kind: str
