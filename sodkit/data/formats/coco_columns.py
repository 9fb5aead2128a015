"""The annotations of a COCO file as columns: a long list by the compiled scanner, else with care.

Both give the same numbers; ``coco`` says what the fields mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from sodkit.arrays import FloatArray, IntArray
from sodkit.data.formats.assemble import box_corners, polygons_from_lists
from sodkit.data.formats.source import Tell, decode_items, decode_json
from sodkit.data.records import CROWD, IGNORED, Polygons
from sodkit.geometry.rotated import obb_to_corners

Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
FlagArray = npt.NDArray[np.uint8]

_LARGE = 2_000_000
"""Bytes from which on a list is worth loading the compiled reader."""

_CHUNK = 20_000
"""Annotations decoded at once: bounds the memory above the file and the columns."""


class Annotation(msgspec.Struct, gc=False):
    """One annotation as a file has it."""

    image_id: Id
    category_id: Id
    id: Id | None = None
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None
    ignore: bool | int | None = None
    iscrowd: bool | int | None = None
    poly: list[float] | None = None
    obb: tuple[float, float, float, float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns of some or all annotations; a missing box is NaN, a missing polygon has no corner.

    ``polygons`` are those of ``poly``, else of ``obb``, else of the box; None if there are only
    boxes. ``obb`` is set if all annotations have one and none has a ``poly``.
    """

    positions: IntArray
    ids: IntArray
    image_ids: IntArray
    category_ids: IntArray
    xywh: FloatArray
    area: FloatArray
    flags: FlagArray
    polygons: Polygons | None
    obb: FloatArray | None


def read_columns(raw: msgspec.Raw, path: Path, tell: Tell) -> Columns:
    """Read the list ``annotations`` of a COCO file.

    Args:
        raw: valid JSON.
        path: the file it is from, for messages.
        tell: told of every annotation that is wrong; it is left out.

    Raises:
        DataError: it is no list.
    """
    found = _scan(raw) if len(memoryview(raw)) >= _LARGE else None
    if found is not None:
        return found
    items = decode_json(bytes(raw), list[msgspec.Raw], path, at="annotations")
    parts = []
    for start in range(0, max(len(items), 1), _CHUNK):
        chunk = items[start : start + _CHUNK]
        parts.append(_columns(decode_items(chunk, Annotation, path, "annotations", tell, start)))
    obbs = [part.obb for part in parts if part.obb is not None]
    polygons = _join_polygons(parts) if any(p.polygons is not None for p in parts) else None
    return Columns(
        positions=np.concatenate([part.positions for part in parts]),
        ids=np.concatenate([part.ids for part in parts]),
        image_ids=np.concatenate([part.image_ids for part in parts]),
        category_ids=np.concatenate([part.category_ids for part in parts]),
        xywh=np.concatenate([part.xywh for part in parts]),
        area=np.concatenate([part.area for part in parts]),
        flags=np.concatenate([part.flags for part in parts]),
        polygons=polygons,
        obb=np.concatenate(obbs) if len(obbs) == len(parts) else None,
    )


def _scan(raw: msgspec.Raw) -> Columns | None:
    """Read a list in its usual form; None if it has another form."""
    # Imported here: small files do not pay for loading the compiled reader.
    from sodkit.json_columns.scan import FLAG, INTEGER, NUMBERS, Field, scan

    fields = {name: Field(INTEGER) for name in ("image_id", "category_id", "id")}
    fields |= {name: Field(FLAG) for name in ("ignore", "iscrowd")}
    fields |= {"area": Field(NUMBERS), "bbox": Field(NUMBERS, 4)}
    fields |= {"poly": Field(NUMBERS, 8), "obb": Field(NUMBERS, 5)}
    found = scan(np.frombuffer(raw, np.uint8), fields, is_json=True)
    if found is None:
        return None
    whole = {name for name, column in found.present.items() if column.all()}
    some = {name for name, column in found.present.items() if column.any()}
    # Corners from here, others from there: left to the careful reader.
    if not {"image_id", "category_id"} <= whole or {"poly", "obb"} & some - whole:
        return None
    integers, numbers = found.integers, found.numbers
    count = len(integers["image_id"])
    positions = np.arange(count)

    def real(name: str, *width: int) -> FloatArray:
        if name in whole:
            return numbers[name]
        column = np.full((count, *width), np.nan)
        if name in some:
            column[found.present[name]] = numbers[name][found.present[name]]
        return column

    def flag(name: str, bit: np.uint8) -> FlagArray:
        column = integers.get(name)
        return np.zeros(count, np.uint8) if column is None else column.astype(np.uint8) * bit

    ids = positions + 1
    if "id" in some:
        ids = np.where(found.present["id"], integers["id"], ids)
    corners = None
    if "poly" in whole:
        corners = numbers["poly"].reshape(-1, 2)
    elif "obb" in whole:
        corners = obb_to_corners(numbers["obb"]).reshape(-1, 2)
    return Columns(
        positions=positions,
        ids=ids,
        image_ids=integers["image_id"],
        category_ids=integers["category_id"],
        xywh=real("bbox", 4),
        area=real("area"),
        flags=flag("ignore", IGNORED) | flag("iscrowd", CROWD),
        polygons=None if corners is None else Polygons(corners, np.arange(count + 1) * 4),
        obb=numbers["obb"] if "obb" in whole and "poly" not in whole else None,
    )


def _columns(chunk: list[tuple[int, Annotation]]) -> Columns:
    nan = float("nan")
    no_box = (nan, nan, nan, nan)
    items = [item for _, item in chunk]
    ids = [position + 1 if item.id is None else item.id for position, item in chunk]
    areas = [nan if item.area is None else item.area for item in items]
    boxes = [no_box if item.bbox is None else item.bbox for item in items]
    xywh = np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(boxes)).reshape(-1, 4)
    ignored = np.array([bool(item.ignore) for item in items], np.bool_)
    crowd = np.array([bool(item.iscrowd) for item in items], np.bool_)
    polygons, obb = _corners(items, xywh)
    return Columns(
        positions=np.array([position for position, _ in chunk], np.int64),
        ids=np.array(ids, np.int64),
        image_ids=np.array([item.image_id for item in items], np.int64),
        category_ids=np.array([item.category_id for item in items], np.int64),
        xywh=xywh,
        area=np.array(areas, np.float64),
        flags=ignored * IGNORED | crowd * CROWD,
        polygons=polygons,
        obb=obb,
    )


def _corners(
    chunk: list[Annotation], xywh: FloatArray
) -> tuple[Polygons | None, FloatArray | None]:
    """Return the polygons and oriented boxes of a chunk, see ``Columns``."""
    has_poly = any(item.poly is not None for item in chunk)
    if not has_poly and all(item.obb is None for item in chunk):
        return None, None
    nan = float("nan")
    obb = np.array([item.obb or (nan,) * 5 for item in chunk], np.float64)
    has_obb = np.array([item.obb is not None for item in chunk])
    corners = obb_to_corners(obb)
    if not has_obb.all():
        corners = np.where(has_obb[:, None, None], corners, box_corners(xywh))
    if not has_poly:
        offsets = np.arange(len(chunk) + 1) * 4
        return Polygons(corners.reshape(-1, 2), offsets), obb if has_obb.all() else None
    others = corners.reshape(-1, 8).tolist()
    return polygons_from_lists(
        [
            other if item.poly is None else item.poly
            for item, other in zip(chunk, others, strict=True)
        ]
    ), None


def _join_polygons(parts: list[Columns]) -> Polygons:
    """Join the corners of all chunks; where there are none, those of the boxes."""
    return Polygons.join(
        [
            Polygons(box_corners(part.xywh).reshape(-1, 2), np.arange(len(part.ids) + 1) * 4)
            if part.polygons is None
            else part.polygons
            for part in parts
        ]
    )
