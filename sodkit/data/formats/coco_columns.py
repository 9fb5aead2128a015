"""The list ``annotations`` of a COCO file as columns; ``coco`` says what the fields mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.formats.assemble import Collected, box_corners
from sodkit.data.formats.source import Report, data_error, item_error
from sodkit.data.records import CROWD, IGNORED, Category, ImageRecord, Polygons
from sodkit.geometry.rotated import obb_to_corners
from sodkit.json_columns import FLAG, INTEGER, NUMBERS, Field, JsonColumns, read_columns
from sodkit.json_text import JsonError

_FIELDS = {
    "image_id": Field(INTEGER, required=True),
    "category_id": Field(INTEGER, required=True),
    "id": Field(INTEGER),
    "bbox": Field(NUMBERS, 4),
    "area": Field(NUMBERS),
    "ignore": Field(FLAG),
    "iscrowd": Field(FLAG),
    "poly": Field(NUMBERS, 8, any_length=True),
    "obb": Field(NUMBERS, 5),
}


def collect_annotations(
    raw: msgspec.Raw,
    path: Path,
    images: Sequence[ImageRecord],
    categories: Sequence[Category],
    report: Report,
) -> Collected:
    """Read the list ``annotations`` of a COCO file.

    A missing box is NaN. ``polygons`` are those of ``poly``, else of ``obb``, else of the box; None
    if there are only boxes. ``obb`` is set if all annotations have one and none has a ``poly``.

    Args:
        raw: valid JSON.
        path: the file it is from, for messages.
        images: of the file.
        categories: of the file.
        report: called with every annotation that is wrong; it is left out.

    Raises:
        DataError: it is no list.
    """

    def wrong(position: int, text: bytes, error: JsonError) -> None:
        report(item_error(error, text, path, f"annotations[{position}]"), "form")

    try:
        found = read_columns(raw, _FIELDS, wrong, is_json=True)
    except JsonError as error:
        raise data_error(error, bytes(raw), path, "annotations") from error
    positions, integers, numbers = found.positions, found.integers, found.numbers
    count = len(found)
    ids = positions + 1
    if "id" in integers:
        ids = np.where(found.present["id"], integers["id"], ids)
    absent = np.zeros(count, np.int64)
    ignored, crowd = (integers.get(name, absent) for name in ("ignore", "iscrowd"))
    xywh = numbers.get("bbox", np.full((count, 4), np.nan))
    oriented = "poly" not in found.present and "obb" in found.present
    return Collected(
        path=path,
        images=images,
        categories=categories,
        ids=ids,
        image_ids=integers["image_id"],
        category_ids=integers["category_id"],
        xywh=xywh,
        area=numbers.get("area", np.full(count, np.nan)),
        flags=ignored.astype(np.uint8) * IGNORED | crowd.astype(np.uint8) * CROWD,
        polygons=_polygons(found, xywh),
        place=lambda row: f"{path}: annotations[{positions[row]}] (id {ids[row]})",
        obb=numbers["obb"] if oriented and found.present["obb"].all() else None,
    )


def _polygons(found: JsonColumns, xywh: FloatArray) -> Polygons | None:
    """Return the corners of all annotations, see ``collect_annotations``."""
    if not found.present.keys() & {"poly", "obb"}:
        return None
    corners = box_corners(xywh)
    if "obb" in found.present:
        there = found.present["obb"]
        corners[there] = obb_to_corners(found.numbers["obb"][there])
    if "poly" not in found.present:
        return Polygons(corners.reshape(-1, 2), np.arange(len(found) + 1) * 4)
    stated, lengths = found.present["poly"], np.diff(found.offsets["poly"])
    # An odd or empty list becomes one corner at the origin: it is refused later.
    whole = stated & (lengths > 0) & (lengths % 2 == 0)
    counts = np.where(whole, lengths, np.where(stated, 2, 8))
    points = np.zeros(counts.sum())
    points[np.repeat(whole, counts)] = found.numbers["poly"][np.repeat(whole, lengths)]
    points[np.repeat(~stated, counts)] = corners[~stated].ravel()
    return Polygons(points.reshape(-1, 2), np.concatenate([[0], np.cumsum(counts // 2)]))
