"""Writing COCO JSON, all at once or image by image so that memory stays bounded.

One image or annotation stands on a line. Beyond plain COCO: ``ignore``, for oriented objects
``poly`` and ``obb``, for patches ``ori_id``, ``ori_file_name``, ``start_coord`` and ``trunc`` (1:
only a part of the object is in the patch). Ignore regions get a category ``ignore`` of their own.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from sodkit.arrays import BoolArray
from sodkit.data.formats.assemble import IGNORE_NAME
from sodkit.data.records import REGION, Annotations, Category, ImageRecord, Polygons
from sodkit.files import atomic_path

_UNSET = msgspec.UNSET
_Maybe = msgspec.UnsetType

_CHUNK = 128
"""Annotations turned into text at a time."""


class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    width: int
    height: int
    ori_id: int | _Maybe = _UNSET
    ori_file_name: str | _Maybe = _UNSET
    start_coord: tuple[int, int] | _Maybe = _UNSET


class _Annotation(msgspec.Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: float
    iscrowd: int
    ignore: int
    poly: list[float] | _Maybe = _UNSET
    obb: list[float] | _Maybe = _UNSET
    trunc: int | _Maybe = _UNSET


def write(path: Path, annotations: Annotations) -> None:
    """Write a COCO file, all or nothing.

    Raises:
        UsageError: if ``path`` cannot be written.
    """
    with coco_writer(path, annotations.categories) as writer:
        writer.add(annotations)


@contextmanager
def coco_writer(path: Path, categories: Sequence[Category]) -> Iterator[CocoWriter]:
    """Open a COCO file to add to; it stands under its name once the block has ended well."""
    with (
        atomic_path(path) as temporary,
        temporary.open("wb") as images,
        tempfile.TemporaryFile(dir=path.parent) as annotations,
    ):
        writer = CocoWriter(images, annotations, categories)
        yield writer
        writer.finish()


class CocoWriter:
    """Adds images and annotations to a COCO file; made by ``coco_writer``."""

    def __init__(
        self, images: BinaryIO, annotations: BinaryIO, categories: Sequence[Category]
    ) -> None:
        """Start the two lists.

        Args:
            images: the file to be.
            annotations: scratch: annotations follow the images at the end.
            categories: the classes, without ``ignore``.
        """
        self._images = _Lines(images, b'{"images": [')
        self._annotations = _Lines(annotations, b'"annotations": [')
        self._categories = tuple(categories)
        self._region_id = max((item.id for item in categories), default=0) + 1
        self._has_regions = False

    def add(self, annotations: Annotations, truncated: BoolArray | None = None) -> None:
        """Add images and annotations with the ids that they have.

        Args:
            annotations: of the writer's categories.
            truncated: (N,) written as ``trunc``, None: not written.
        """
        self._has_regions |= bool(annotations.is_region.any())
        self._images.add([_image(image) for image in annotations.images])
        for some in self._structs(annotations, truncated):
            self._annotations.add(some)

    def finish(self) -> None:
        """Join the lists and write the categories."""
        regions = [Category(self._region_id, IGNORE_NAME)] if self._has_regions else []
        items = [{"id": item.id, "name": item.name} for item in (*self._categories, *regions)]
        self._images.end()
        self._annotations.end()
        self._annotations.file.seek(0)
        shutil.copyfileobj(self._annotations.file, self._images.file, 1 << 20)
        self._images.file.write(b'"categories": ' + msgspec.json.encode(items) + b"}\n")

    def _structs(
        self, annotations: Annotations, truncated: BoolArray | None
    ) -> Iterator[list[_Annotation]]:
        """Yield some annotations at a time: what a processor's cache holds."""
        ids = np.array([image.id for image in annotations.images], np.int64)
        classes = np.array([*(item.id for item in self._categories), self._region_id], np.int64)
        labels = np.where(annotations.labels == REGION, len(self._categories), annotations.labels)
        image_ids, category_ids = ids[annotations.image_index], classes[labels]
        ignore, unset = annotations.ignore.astype(int), repeat(_UNSET)
        for start in range(0, len(annotations), _CHUNK):
            part = slice(start, start + _CHUNK)
            columns: tuple[Iterable[Any], ...] = (
                annotations.ids[part].tolist(),
                image_ids[part].tolist(),
                category_ids[part].tolist(),
                annotations.xywh[part].tolist(),
                annotations.area[part].tolist(),
                repeat(0),
                ignore[part].tolist(),
                unset if annotations.polygons is None else _lists(annotations.polygons, part),
                unset if annotations.obb is None else annotations.obb[part].tolist(),
                unset if truncated is None else truncated[part].astype(int).tolist(),
            )
            yield list(map(_Annotation, *columns))


class _Lines:
    """A JSON list being written, an item a line."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self.file = file
        self._before = head + b"\n"
        self._encoder = msgspec.json.Encoder()

    def add(self, items: Sequence[msgspec.Struct]) -> None:
        if items:
            self.file.write(self._before)
            # a line end inside a string is escaped: these are the ones between the items
            lines = self._encoder.encode_lines(items)
            self.file.write(lines.removesuffix(b"\n").replace(b"\n", b",\n"))
            self._before = b",\n"

    def end(self) -> None:
        head = b"" if self._before == b",\n" else self._before
        self.file.write(head + b"\n],\n")


def _image(image: ImageRecord) -> _Image:
    if image.start is None or image.ori_id is None:
        return _Image(image.id, image.file_name, image.width, image.height)
    origin = image.ori_file_name or _UNSET
    return _Image(
        image.id, image.file_name, image.width, image.height, image.ori_id, origin, image.start
    )


def _lists(polygons: Polygons, part: slice) -> list[list[float]]:
    """Return the corners x1 y1 x2 y2 ... of some polygons."""
    offsets = polygons.offsets[part.start : part.stop + 1]
    points = polygons.points[offsets[0] : offsets[-1]]
    if (np.diff(offsets) == 4).all():
        corners: list[list[float]] = points.reshape(-1, 8).tolist()
        return corners
    flat = points.ravel().tolist()
    return [flat[a:b] for a, b in pairwise(((offsets - offsets[0]) * 2).tolist())]
