"""A file of predictions as columns, before anything in it is checked against annotations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sodkit.arrays import FloatArray, IntArray
from sodkit.data.formats.reading import Angle

KINDS = {"obb": 5, "poly": 8, "bbox": 4}
"""Fields of boxes and how many numbers they have; the first that a record has is its box."""


CategoryIds = Literal["data", "from-0", "from-1", "coco-91"]
"""What numbers of classes are: ids of the data set, or positions in its list of classes, counted
from 0, from 1, or as COCO numbers its 80 classes: 1..90 with gaps."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What the user states about predictions that can mean two things.

    Attributes:
        angle: unit and direction of the angles of oriented boxes; None: radians, clockwise, and
            refused beyond two pi.
        category_ids: what numbers of classes are; None: the data set's ids.
    """

    angle: Angle | None = None
    category_ids: CategoryIds | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Predictions as columns, unchecked.

    Attributes:
        image_id: (N,) ids of images, or indices into ``image_names``.
        category_id: (N,) the data set's ids of classes, or indices into ``class_names``; None if
            the file has none.
        score: (N,).
        boxes: (N, 4) xywh, (N, 5) obb or (N, 8) corners, by ``kind``.
        kind: the field the boxes come from: "bbox", "obb" or "poly".
        image_names: names of images: files, stems, or ids as text; None: there are only ids. Those
            without a prediction are images in which nothing was found.
        class_names: names of classes, or ids as text; None: there are only ids.
        shares: ``boxes`` are shares 0..1 of the image's width and height.
        places: where each prediction stands, for messages; None: its position says it.
    """

    image_id: IntArray
    category_id: IntArray | None
    score: FloatArray
    boxes: FloatArray
    kind: str
    image_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    shares: bool = False
    places: Sequence[str] | None = None

    def place(self, row: int, where: str) -> str:
        """Return where a prediction stands; ``where``: the file."""
        if self.places is not None:
            return self.places[row]
        image: object = self.image_id[row]
        if self.image_names is not None:
            image = self.image_names[self.image_id[row]]
        return f"{where}: $[{row}] (image_id {image})"


def numbered(values: Iterable[str]) -> tuple[IntArray, tuple[str, ...]]:
    """Return the index (N,) of each text among the distinct ones, and these in their order."""
    table: dict[str, int] = {}
    index = [table.setdefault(value, len(table)) for value in values]
    return np.array(index, np.int64), tuple(table)
