"""A synthetic data set on disk: images and one COCO file, as SODA-D has them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations, BoxKind
from sodkit.errors import UsageError
from sodkit.files import StrPath, write_text
from sodkit.synthetic.scene import CATEGORIES, MIN_SIDE, make_scene

IGNORE_ID = len(CATEGORIES) + 1
EMPTY_EVERY = 12
"""One image in so many has no objects."""


def make_dataset(
    out: StrPath,
    *,
    images: int,
    seed: int,
    width: int = 2048,
    height: int = 1536,
    boxes: BoxKind = "horizontal",
    subset: str = "train",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``images`` scenes as ``OUT/images/SUBSET_0001.jpg`` ... and ``OUT/SUBSET.json``.

    File names in the JSON are relative to ``out``. Oriented objects have ``poly`` and ``obb``
    beside ``bbox``. The same arguments write the same bytes; another subset name, other scenes.

    Args:
        out: the folder; other subsets may be in it already.
        images: how many scenes, at least 1; every twelfth has no objects.
        seed: at least 0.
        width: of the images in px, at least 128.
        height: likewise.
        boxes: upright or rotated objects.
        subset: name of the JSON and beginning of the images' names.
        overwrite: replace the files of an earlier call.
        progress: called with (done, total) after each image.

    Returns:
        the path of the JSON, which is written last.

    Raises:
        UsageError: if the numbers are out of range or the JSON exists already.
    """
    out = Path(out)
    target = out / f"{subset}.json"
    if images < 1 or seed < 0 or min(width, height) < MIN_SIDE:
        raise UsageError(
            f"cannot make {images} scenes of {width} x {height} px with seed {seed}",
            hint=f"at least 1 image, {MIN_SIDE} px a side, seed 0",
        )
    if target.exists() and not overwrite:
        raise UsageError("exists already", where=target, hint="give another folder or subset")
    records: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for index in range(images):
        name = scene_name(subset, index + 1)
        empty = (index + 1) % EMPTY_EVERY == 0
        scene_seed = (seed, zlib.crc32(subset.encode()), index)
        image, annotations = make_scene(scene_seed, width, height, boxes, empty=empty)
        write_image(out / name, image, quality=95)
        records.append({"id": index + 1, "file_name": name, "width": width, "height": height})
        rows += _rows(annotations, index + 1, first_id=len(rows) + 1)
        if progress is not None:
            progress(index + 1, images)
    categories = [{"id": c.id, "name": c.name} for c in CATEGORIES]
    categories.append({"id": IGNORE_ID, "name": "ignore"})
    content = {"images": records, "annotations": rows, "categories": categories}
    write_text(target, json.dumps(content))
    return target


def scene_name(subset: str, number: int) -> str:
    """Return the file name of a scene, counted from 1."""
    return f"images/{subset}_{number:04d}.jpg"


def _rows(annotations: Annotations, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """Turn the annotations of one scene into COCO's."""
    ids = np.array([c.id for c in annotations.categories] + [IGNORE_ID])[annotations.labels]
    rows = []
    for k in range(len(annotations)):
        row: dict[str, Any] = {
            "id": first_id + k,
            "image_id": image_id,
            "category_id": int(ids[k]),
            "bbox": annotations.xywh[k].tolist(),
            "area": float(annotations.area[k]),
            "iscrowd": 0,
            "ignore": int(annotations.ignore[k]),
        }
        if annotations.obb is not None and annotations.polygons is not None:
            row["poly"] = annotations.polygons[k].ravel().tolist()
            row["obb"] = annotations.obb[k].tolist()
        rows.append(row)
    return rows
