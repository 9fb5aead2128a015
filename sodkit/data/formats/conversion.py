"""From one format to another, saying what the target cannot hold."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from sodkit.arrays import BoolArray
from sodkit.data.formats import coco_write, dota, soda_a, voc, yolo, yolo_write
from sodkit.data.formats.dota import four_corners
from sodkit.data.formats.folders import LONGEST_NAME, numbers, stem_of
from sodkit.data.naming import IMAGE_SUFFIXES
from sodkit.data.records import Annotations
from sodkit.errors import DataError, UsageError
from sodkit.files import StrPath
from sodkit.geometry.rotated import obb_to_corners
from sodkit.names import check_names
from sodkit.outputs import check_file, stage_folder

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
    "yolo": Holds(yolo_write.write, False, True, False, "four", False, False),
    "voc": Holds(voc.write, False, True, True, "rectangle", True, False),
}
"""What each folder format holds; COCO holds everything."""

LABEL_SUFFIXES = {"soda-a": ".json", "voc": ".xml"}
"""Of label files; others have .txt."""


def convert(
    annotations: Annotations,
    format: str,
    out: StrPath,
    *,
    images: StrPath | None = None,
    copy: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Write annotations in a format.

    Args:
        annotations: what is written.
        format: one of ``WRITTEN``.
        out: COCO: the file to be; others: the folder, absent or empty.
        images: YOLO: where the images' file names start; they are linked to beside the labels,
            where its trainers look for them. None: they are not.
        copy: copy these images instead.
        overwrite: replace what an earlier call wrote: a COCO file, or a folder of this format.
        progress: called with (done, total) images that are linked or copied.

    Returns:
        what the format cannot hold of them, and what to know about what is written, a sentence
        each.

    Raises:
        UsageError: ``out`` is taken, written by another process or cannot be written, or a class
            name cannot stand in it.
        DataError: two images would share one label file, or its name would be too long or one that
            Windows reserves.
    """
    out = Path(out)
    images = None if images is None else Path(images)
    if format == "coco":
        if out.suffix != ".json":
            raise UsageError("is no name for COCO: it ends in .json", where=out)
        check_file(out, overwrite=overwrite, is_own=is_coco, what="COCO file")
        coco_write.write(out, annotations)
        return []
    suffix = LABEL_SUFFIXES.get(format, ".txt")
    name_of = yolo_write.image_name if format == "yolo" else _same
    _check_stems(annotations, suffix, name_of)
    said = list(losses(annotations, HOLDS[format]))
    with stage_folder(out, f"convert --to {format}", overwrite=overwrite) as folder:
        HOLDS[format].write(folder, annotations)
        if format == "yolo":
            yolo_write.write_yaml(folder, annotations, root=out.resolve())
            said += yolo_write.place_images(
                folder, annotations, images, copy=copy, progress=progress
            )
    return said


def is_coco(path: Path) -> bool:
    """Return whether a file is a COCO JSON, by its keys alone."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
    except (OSError, ValueError, RecursionError):
        return False
    return {"images", "annotations", "categories"} <= content.keys()


def _same(name: str) -> str:
    return name


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
            f"{int(_outside(own).sum())} objects reach out of their image: kept so, but "
            "Ultralytics leaves out an image with such an object"
        )
    if holds is HOLDS["yolo"] and own.ignore.any():
        yield "ignore regions are the class 'ignore': other trainers learn it like any class"
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
    # Read by its YAML, YOLO's names start with a folder: then they are no numbers.
    bases = ("", f"{yolo.IMAGES}/") if holds is HOLDS["yolo"] else ("",)
    names = sorted(stem_of(image.file_name) for image in own.images)
    ids = [numbers([base + name for name in names]) for base in bases]
    if any(
        found[base + stem_of(image.file_name)] != image.id
        for found, base in zip(ids, bases, strict=True)
        for image in own.images
    ):
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


def _check_stems(annotations: Annotations, suffix: str, name_of: Callable[[str], str]) -> None:
    """Raise if two images would share a label file, or its name would be one no system takes."""
    stems = [stem_of(name_of(image.file_name)) for image in annotations.images]
    check_names(
        (f"{stem}{suffix}", image.file_name)
        for stem, image in zip(stems, annotations.images, strict=True)
    )
    counts = Counter(stem.casefold() for stem in stems)
    for stem, image in zip(stems, annotations.images, strict=True):
        last = stem.rpartition("/")[2]
        if len(os.fsencode(last)) > LONGEST_NAME - len(suffix):
            raise DataError(
                f"its label file would have a name of more than {LONGEST_NAME} bytes",
                where=image.file_name,
                hint="give the image a shorter name, in its folder and in ANN; or convert to coco",
            )
        if counts[stem.casefold()] > 1:
            raise DataError(
                "another image differs from it only by suffix or case: they would share labels",
                where=image.file_name,
            )
