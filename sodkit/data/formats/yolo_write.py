"""Writing YOLO and YOLO-OBB: ``labels/``, ``images/`` and ``data.yaml``.

``images/`` holds links to the images, or copies. 10 digits after the point: that is 1e-5 px on an
image of 100 000 px. Upright boxes as cx cy w h, oriented ones as four corners.

Ultralytics trains on it as it stands: it finds the label file of an image by the last folder
``images`` of its path, put ``labels`` for it, so no other folder here is named ``images``. It takes
a relative ``path`` from its own settings or the current folder, so ours is absolute.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from sodkit.arrays import FloatArray
from sodkit.data.formats.assemble import IGNORE_NAME
from sodkit.data.formats.dota import four_corners
from sodkit.data.formats.folders import is_file, stem_of
from sodkit.data.formats.yolo import IMAGES, LABELS
from sodkit.data.formats.yolo_yaml import YAML
from sodkit.data.records import REGION, Annotations
from sodkit.errors import DataError
from sodkit.files import write_text
from sodkit.yaml_text import format_yaml


def image_name(name: str) -> str:
    """Return what an image is called below ``images``: its name without folders ``images``."""
    *folders, own = name.split("/")
    return "/".join([*(part for part in folders if part != IMAGES), own])


def write(folder: Path, annotations: Annotations) -> None:
    """Write ``folder/labels/*.txt``.

    Ignored objects become ignore regions; a polygon of other than four corners the rectangle
    around it.
    """
    labels = annotations.labels.copy()
    labels[annotations.ignore | (labels == REGION)] = len(annotations.categories)
    corners = None if annotations.obb is None else four_corners(annotations)
    for image, rows in zip(annotations.images, annotations.rows_by_image(), strict=True):
        size = (image.width, image.height)
        lines = [
            " ".join([str(labels[row]), *_fractions(annotations, row, corners, size)])
            for row in rows.tolist()
        ]
        target = folder / LABELS / f"{stem_of(image_name(image.file_name))}.txt"
        write_text(target, "".join(f"{line}\n" for line in lines))


def write_yaml(folder: Path, annotations: Annotations, *, root: Path) -> None:
    """Write ``folder/data.yaml``; ``root`` is the absolute folder that the data set will be in."""
    names = [item.name for item in annotations.categories]
    if annotations.ignore.any():
        names.append(IGNORE_NAME)
    content = {
        "path": str(root), "train": IMAGES, "val": IMAGES, "names": dict(enumerate(names))
    }  # fmt: skip
    text = format_yaml(content)
    head = "# path: correct it if this folder is moved. val: name other images to validate on.\n"
    write_text(folder / YAML, head + text)


def place_images(
    folder: Path,
    annotations: Annotations,
    source: Path | None,
    *,
    copy: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[str]:
    """Link the images of ``source`` to ``folder/images``, or copy them; say what to know.

    Where the system makes no links they are copied.
    """
    (folder / IMAGES).mkdir(exist_ok=True)
    count = Counter[str]()
    for done, image in enumerate(annotations.images):
        progress(done, len(annotations.images))
        place = None if source is None else (source / image.file_name).resolve()
        if place is None or not is_file(place):
            count["missing"] += 1
            continue
        target = folder / IMAGES / image_name(image.file_name)
        target.parent.mkdir(parents=True, exist_ok=True)
        count["copied" if copy or not _linked(target, place) else "linked"] += 1
        if not target.is_symlink():
            _copy(place, target)
    if count["linked"]:
        yield f"{count['linked']} images are links to {source}: --copy-images copies them"
    if count["copied"]:
        yield f"{count['copied']} images were copied to {IMAGES}"
    if count["missing"]:
        where = "" if source is None else f", they are not in {source}"
        yield (
            f"{count['missing']} images have to be put into {IMAGES}{where} "
            "(--images DIR says where they are)"
        )
    yield "train and val in data.yaml are the same images: validate on other ones"
    names = [image.file_name.removeprefix(f"{IMAGES}/") for image in annotations.images]
    renamed = sum(image_name(name) != name for name in names)
    if renamed:
        yield f"lost: the folders named {IMAGES} in the names of {renamed} images"


def _linked(target: Path, place: Path) -> bool:
    """Make a link to a file; False if the system makes none here."""
    try:
        target.symlink_to(place)
    except (OSError, NotImplementedError):  # the second where the system knows no links
        return False
    return True


def _fractions(
    annotations: Annotations, row: int, corners: FloatArray | None, size: tuple[int, int]
) -> Iterator[str]:
    if corners is None:
        x, y, w, h = annotations.xywh[row].tolist()
        values = [x + w / 2, y + h / 2, w, h]
    else:
        values = corners[row].ravel().tolist()
    for position, value in enumerate(values):
        text = f"{value / size[position % 2]:.10f}".rstrip("0").rstrip(".")
        yield "0" if text == "-0" else text


def _copy(place: Path, target: Path) -> None:
    try:
        shutil.copyfile(place, target)
    except PermissionError as error:
        raise DataError(f"cannot be copied: {error.strerror}", where=place) from error
