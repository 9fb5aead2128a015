"""From one format to another, saying what the target cannot hold."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sodkit.data.formats import coco_write, dota, soda_a, voc, yolo
from sodkit.data.formats.dota import four_corners
from sodkit.data.formats.folders import IMAGE_SUFFIXES, LONGEST_NAME, numbers, stem_of
from sodkit.data.records import Annotations, BoolArray
from sodkit.errors import DataError, UsageError
from sodkit.files import atomic_folder
from sodkit.geometry.rotated import obb_to_corners

_NEAR = 1e-3
"""Corners this near to a rectangle's, in px, are one."""


@dataclass(frozen=True, slots=True)
class Holds:
    """What a folder format can hold.

    Attributes:
        write: fills a folder.
        category_ids: the data set's own class ids (otherwise they count from 0).
        horizontal: upright boxes as such (otherwise they come back as oriented ones).
        flags: that an object is ignored.
        polygons: "any" number of corners, "four", or only the "rectangle" around them.
        sizes: sizes and full names of images (otherwise they are read from the images).
        patches: where a patch lies in its image.
    """

    write: Callable[[Path, Annotations], None]
    category_ids: bool
    horizontal: bool
    flags: bool
    polygons: str
    sizes: bool
    patches: bool


HOLDS = {
    "soda-a": Holds(soda_a.write, True, False, True, "any", True, True),
    "dota": Holds(dota.write, False, False, True, "four", False, False),
    "yolo": Holds(yolo.write, False, True, False, "four", False, False),
    "voc": Holds(voc.write, False, True, True, "rectangle", True, False),
}
"""What each folder format holds; COCO holds everything."""


def convert(annotations: Annotations, format: str, out: Path) -> list[str]:
    """Write annotations in a format.

    Args:
        annotations: what is written.
        format: one of ``FORMATS``.
        out: COCO: the file to be; others: the folder, absent or empty.

    Returns:
        what the format cannot hold of them, a sentence each.

    Raises:
        UsageError: ``out`` is taken or cannot be written, or a class name cannot stand in it.
        DataError: two images would share one label file, or its name would be too long.
    """
    if format == "coco":
        if out.exists():
            raise UsageError("exists already", where=out, hint="give another file by --out")
        coco_write.write(out, annotations)
        return []
    _check_stems(annotations, ".json" if format == "soda-a" else ".txt")
    with atomic_folder(out) as folder:
        HOLDS[format].write(folder, annotations)
    return list(losses(annotations, HOLDS[format]))


def losses(own: Annotations, holds: Holds) -> Iterator[str]:
    """Say what a format cannot hold of annotations."""
    objects = ~own.is_region
    yield from _lost_numbers(own, holds)
    ignored = int((own.ignore & objects).sum())
    if ignored and not holds.flags:
        yield f"{ignored} ignored objects became ignore regions, of no class"
    if own.kind == "horizontal" and len(own) and not holds.horizontal:
        yield f"{len(own)} upright boxes became oriented ones"
    bent = int(_not_held(own, holds.polygons).sum())
    if bent:
        held = "four corners" if holds.polygons == "four" else "rectangles"
        yield f"{bent} polygons became the rectangle around them, only {held} can be held"
    if own.kind == "oriented" and not len(own):
        yield "lost: that the data are oriented, there is no object to show it"
    if holds is HOLDS["yolo"] and _outside(own).any():
        yield (
            f"{int(_outside(own).sum())} objects reach out of their image: kept so, but other "
            "readers may refuse them"
        )
    patches = sum(image.start is not None for image in own.images)
    if patches and not holds.patches:
        yield f"lost: where {patches} patches lie in their images"
    suffixed = sum(not image.file_name.endswith(IMAGE_SUFFIXES) for image in own.images)
    if suffixed and not holds.sizes:
        yield f"lost: the names of {suffixed} images that end in no image's suffix"


def _lost_numbers(own: Annotations, holds: Holds) -> Iterator[str]:
    """Say which ids, areas and image sizes are lost."""
    counted = np.arange(1, len(own) + 1)
    in_order = bool((np.diff(own.image_index) >= 0).all())
    if not in_order or not np.array_equal(own.ids, counted):
        yield "lost: the ids and the order of the annotations"
    names = sorted(stem_of(image.file_name) for image in own.images)
    ids = numbers(names)
    if any(ids[stem_of(image.file_name)] != image.id for image in own.images):
        yield "lost: the ids of the images, they follow from the file names"
    if not holds.category_ids and any(i != item.id for i, item in enumerate(own.categories)):
        yield "lost: the ids of the classes, they count from 0"
    area = own.xywh[:, 2] * own.xywh[:, 3] if own.obb is None else own.obb[:, 2] * own.obb[:, 3]
    other = int((np.abs(own.area - area) > 1e-6 * np.maximum(area, 1)).sum())
    if other:
        yield f"lost: {other} areas that are not width times height"
    if not holds.sizes and own.images:
        yield "lost: the sizes of the images, they are read from the images"


def _not_held(own: Annotations, polygons: str) -> BoolArray:
    """Return (N,) true where a polygon cannot be held as it is."""
    if own.polygons is None or own.obb is None or polygons == "any":
        return np.zeros(len(own), np.bool_)
    bent = np.diff(own.polygons.offsets) != 4
    if polygons == "four":
        return np.asarray(bent)
    corners, exact = four_corners(own), obb_to_corners(own.obb)
    distance = np.linalg.norm(corners[:, :, None] - exact[:, None], axis=-1)
    far = (distance.min(axis=2) > _NEAR).any(axis=1) | (distance.min(axis=1) > _NEAR).any(axis=1)
    return np.asarray(bent | far)


def _outside(own: Annotations) -> BoolArray:
    """Return (N,) true where a box reaches out of its image."""
    sizes = np.array([(image.width, image.height) for image in own.images], np.float64)
    limit = sizes.reshape(-1, 2)[own.image_index] if len(own) else np.zeros((0, 2))
    box = own.xyxy
    return np.asarray((box[:, :2] < 0).any(axis=1) | (box[:, 2:] > limit).any(axis=1))


def _check_stems(annotations: Annotations, suffix: str) -> None:
    """Raise if two images would share a label file, or one's would have too long a name."""
    counts = Counter(stem_of(image.file_name).casefold() for image in annotations.images)
    for image in annotations.images:
        last = stem_of(image.file_name).rpartition("/")[2]
        if len(os.fsencode(last)) > LONGEST_NAME - len(suffix):
            raise DataError(
                f"its label file would have a name of more than {LONGEST_NAME} bytes",
                where=image.file_name,
                hint="give the image a shorter name, in its folder and in ANN; or convert to coco",
            )
        if counts[stem_of(image.file_name).casefold()] > 1:
            raise DataError(
                "another image differs from it only by suffix or case: they would share labels",
                where=image.file_name,
            )
