"""The carriers: what flows from annotations on disk to metrics, as frozen columns of arrays.

Boxes are named after their convention, everywhere:

``xywh``  left, top, width, height (as COCO files have it; kept as read, so areas stay exact)
``xyxy``  left, top, right, bottom (derived from ``xywh``; what models and geometry use)
``obb``   cx, cy, w, h, angle: w >= h, radians, clockwise with y down, in [-pi/2, pi/2)

All in continuous pixels of the image, origin at its top left corner. ``labels`` are class indices
0..C-1 in the order of ``Annotations.categories``; the ids of the data set are ``Category.id``.

Oriented data carry ``obb`` *beside* ``xywh`` (then the enclosing box), so whatever needs only
upright boxes works on both kinds. All columns are selected together by ``take``: no column can be
forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.geometry.boxes import xywh_to_xyxy
from sodkit.geometry.rotated import xyxy_to_obb

BoxKind = Literal["horizontal", "oriented"]

REGION = -1
"""The label of an ignore region: an annotation of the category ``ignore``, of no class."""

IGNORED, CROWD = np.uint8(1), np.uint8(2)
"""Bits of ``Annotations.flags``: the file says ``ignore``, or COCO's ``iscrowd``."""


@dataclass(frozen=True, slots=True)
class Category:
    """A class of the data set; ``id`` is the data set's own, not the class index."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Note:
    """How a source was read where a user may expect otherwise: a short fixed name, a sentence."""

    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image as the annotations state it.

    ``ori_id``, ``ori_file_name`` and ``start`` (x, y) are set if it is a patch: then it shows the
    original image from ``start`` on.
    """

    id: int
    file_name: str
    width: int
    height: int
    ori_id: int | None = None
    ori_file_name: str | None = None
    start: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """Ragged polygons: ``points`` (P, 2) xy; polygon i is ``points[offsets[i]:offsets[i + 1]]``."""

    points: FloatArray
    offsets: IntArray

    def __post_init__(self) -> None:
        _check_shape("points", self.points, (None, 2))
        if self.offsets.ndim != 1 or len(self.offsets) < 1 or self.offsets[-1] != len(self.points):
            raise ValueError("offsets must be (N + 1,), ending at len(points)")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> FloatArray:
        """Return the corners (K, 2) of polygon ``index``."""
        return self.points[self.offsets[index] : self.offsets[index + 1]]

    def take(self, indices: IntArray | BoolArray) -> Polygons:
        """Select polygons by index or mask, in that order."""
        chosen = np.arange(len(self))[indices]
        lengths = np.diff(self.offsets)[chosen]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - self.offsets[chosen], lengths)
        return Polygons(self.points[rows], offsets)

    @classmethod
    def join(cls, parts: Sequence[Polygons]) -> Polygons:
        """Join polygons in order."""
        counts = [np.diff(part.offsets) for part in parts]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([*counts, np.zeros(0, np.int64)]))])
        points = np.concatenate([*(part.points for part in parts), np.zeros((0, 2))])
        return cls(points, offsets.astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """A data set's annotations as columns; row i of every column is one object or ignore region.

    Attributes:
        images: the images, objects or not.
        categories: the classes, without ``ignore``; a label is an index into them.
        ids: (N,) annotation ids.
        image_index: (N,) index into ``images``, not an image id.
        labels: (N,) class indices, ``REGION`` for ignore regions.
        xywh: (N, 4) boxes, of oriented objects the enclosing ones.
        area: (N,) px^2 as annotated; for oriented objects w * h of ``obb``.
        ignore: (N,) not to be learnt, by whichever flag; always true for regions.
        obb: (N, 5) oriented boxes, None if the data are horizontal.
        polygons: the corners as annotated, None if there were none.
        flags: (N,) bits IGNORED and CROWD: by which flag; None: all that ``ignore`` holds are
            IGNORED.
        notes: how the source was read, where a user may expect otherwise.
    """

    images: tuple[ImageRecord, ...]
    categories: tuple[Category, ...]
    ids: IntArray
    image_index: IntArray
    labels: IntArray
    xywh: FloatArray
    area: FloatArray
    ignore: BoolArray
    obb: FloatArray | None = None
    polygons: Polygons | None = None
    flags: npt.NDArray[np.uint8] | None = None
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.ids)
        for name in ("ids", "image_index", "labels", "area", "ignore"):
            _check_shape(name, getattr(self, name), (count,))
        _check_shape("xywh", self.xywh, (count, 4))
        if self.obb is not None:
            _check_shape("obb", self.obb, (count, 5))
        if self.polygons is not None and len(self.polygons) != count:
            raise ValueError(f"{len(self.polygons)} polygons for {count} annotations")
        if self.flags is not None:
            _check_shape("flags", self.flags, (count,))

    def __repr__(self) -> str:
        return (
            f"<Annotations: {len(self.images)} images, {int((~self.ignore).sum())} objects, "
            f"{int(self.ignore.sum())} ignored, {len(self.categories)} classes, {self.kind}>"
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def kind(self) -> BoxKind:
        """``oriented`` if the data carry oriented boxes."""
        return "horizontal" if self.obb is None else "oriented"

    @property
    def xyxy(self) -> FloatArray:
        """(N, 4) left, top, right, bottom."""
        return xywh_to_xyxy(self.xywh)

    @property
    def is_region(self) -> BoolArray:
        """(N,) true for ignore regions, false for objects (also ignored ones)."""
        return np.asarray(self.labels == REGION)

    def flagged(self, flag: np.uint8) -> BoolArray:
        """(N,) true where the annotations say so; ``flag`` is IGNORED or CROWD."""
        if self.flags is None:
            return self.ignore if flag == IGNORED else np.zeros_like(self.ignore)
        return np.asarray(self.flags & flag != 0)

    def take(self, indices: IntArray | BoolArray) -> Self:
        """Select annotations by index or mask, in that order; images and categories stay."""
        return replace(
            self,
            ids=self.ids[indices],
            image_index=self.image_index[indices],
            labels=self.labels[indices],
            xywh=self.xywh[indices],
            area=self.area[indices],
            ignore=self.ignore[indices],
            obb=None if self.obb is None else self.obb[indices],
            polygons=None if self.polygons is None else self.polygons.take(indices),
            flags=None if self.flags is None else self.flags[indices],
        )

    def rows_by_image(self) -> list[IntArray]:
        """Return for every image the rows of its annotations, in their order."""
        order = np.argsort(self.image_index, kind="stable")
        counts = np.bincount(self.image_index, minlength=len(self.images))
        return np.split(order, np.cumsum(counts)[:-1]) if len(self.images) else []


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Detections of one or many images as columns.

    Attributes:
        image_ids: (N,) ids (not indices) of the images.
        labels: (N,) class indices; all 0 for class-agnostic proposals.
        scores: (N,) in [0, 1].
        xywh: (N, 4) boxes, of oriented detections the enclosing ones.
        obb: (N, 5) oriented boxes, None if horizontal.
    """

    image_ids: IntArray
    labels: IntArray
    scores: FloatArray
    xywh: FloatArray
    obb: FloatArray | None = field(default=None)

    def __post_init__(self) -> None:
        count = len(self.image_ids)
        for name in ("image_ids", "labels", "scores"):
            _check_shape(name, getattr(self, name), (count,))
        _check_shape("xywh", self.xywh, (count, 4))
        if self.obb is not None:
            _check_shape("obb", self.obb, (count, 5))

    def __repr__(self) -> str:
        images = len(np.unique(self.image_ids))
        return f"<Detections: {len(self)} in {images} images, {self.kind}>"

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def kind(self) -> BoxKind:
        """``oriented`` if the detections carry oriented boxes."""
        return "horizontal" if self.obb is None else "oriented"

    @property
    def xyxy(self) -> FloatArray:
        """(N, 4) left, top, right, bottom."""
        return xywh_to_xyxy(self.xywh)

    def take(self, indices: IntArray | BoolArray) -> Self:
        """Select detections by index or mask, in that order."""
        return replace(
            self,
            image_ids=self.image_ids[indices],
            labels=self.labels[indices],
            scores=self.scores[indices],
            xywh=self.xywh[indices],
            obb=None if self.obb is None else self.obb[indices],
        )

    @classmethod
    def empty(cls, kind: BoxKind = "horizontal") -> Self:
        """Return no detections."""
        return cls(
            image_ids=np.zeros(0, np.int64),
            labels=np.zeros(0, np.int64),
            scores=np.zeros(0),
            xywh=np.zeros((0, 4)),
            obb=None if kind == "horizontal" else np.zeros((0, 5)),
        )

    @classmethod
    def concatenate(cls, parts: list[Self], kind: BoxKind = "horizontal") -> Self:
        """Join detections of one kind, in order; ``kind`` matters only if there are none."""
        if not parts:
            return cls.empty(kind)
        obbs = [part.obb for part in parts if part.obb is not None]
        if obbs and len(obbs) != len(parts):
            raise ValueError("horizontal and oriented detections cannot be joined")
        return cls(
            image_ids=np.concatenate([part.image_ids for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            xywh=np.concatenate([part.xywh for part in parts]),
            obb=np.concatenate(obbs) if obbs else None,
        )


Rows = TypeVar("Rows", Annotations, Detections)


def as_boxes(rows: Rows, kind: BoxKind | None) -> Rows:
    """Return annotations or detections as boxes of one kind; None: as they are.

    Oriented ones become their enclosing boxes, horizontal ones get an angle of 0. Areas stay.
    """
    if kind == "horizontal":
        return replace(rows, obb=None)
    if kind == "oriented" and rows.obb is None:
        return replace(rows, obb=xyxy_to_obb(rows.xyxy))
    return rows


def _check_shape(name: str, array: npt.NDArray[np.generic], shape: tuple[int | None, ...]) -> None:
    """Raise ValueError unless ``array`` has ``shape`` (None: any length)."""
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
