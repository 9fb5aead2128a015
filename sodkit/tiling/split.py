"""The geometry of splitting one image: which window shows what of which object, nothing else.

``cut`` looks at every window; ``split_image`` makes annotations of the patches from that. No pixel
is touched here: painting is ``paint.py``, files are ``run.py``.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sodkit.data.records import Annotations, BoolArray, FloatArray, ImageRecord, IntArray, Polygons
from sodkit.geometry.boxes import clip, xyxy_to_xywh
from sodkit.tiling.grid import windows
from sodkit.tiling.settings import SplitSettings
from sodkit.tiling.visible import shapes_of, visible_area

T = TypeVar("T", bound=np.generic)

IMAGES = "images"
"""The folder of the patches, beside their annotations."""

_SLIVER = 1e-3
"""An object that shows only a part, and that thinner than this many px, shows nothing."""

_WHOLE = 1 - 1e-9
"""The visible share from which on an object is whole: clipping rounds."""


class Fate(IntEnum):
    """What becomes of an annotation in a patch."""

    KEEP = 0
    IGNORE = 1
    DROP = 2


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One window and what it shows.

    Attributes:
        start: (x, y) of its left top corner in the image.
        rows: (K,) the annotations that it shows any of, in their order.
        share: (K,) how much of what the image shows of each lies in the window, in (0, 1].
        fate: (K,) values of ``Fate``.
    """

    start: tuple[int, int]
    rows: IntArray
    share: FloatArray
    fate: npt.NDArray[np.int8]

    @property
    def whole(self) -> BoolArray:
        """(K,) true where the window shows all of it that the image shows."""
        return np.asarray(self.share >= _WHOLE)

    @property
    def written(self) -> BoolArray:
        """(K,) true where the patch's annotations have it."""
        return np.asarray(self.fate != Fate.DROP)


@dataclass(frozen=True, slots=True, eq=False)
class ImageSplit:
    """The patches of one image.

    Attributes:
        cuts: the windows that become patches, in order.
        skipped: number of windows left out because they show no object.
        annotations: of the patches; ``images`` go with ``cuts``, ids count from 1.
        truncated: (N,) true where a patch shows only a part of what the image shows.
    """

    cuts: tuple[Cut, ...]
    skipped: int
    annotations: Annotations
    truncated: BoolArray


def cut(annotations: Annotations, index: int, rows: IntArray, settings: SplitSettings) -> list[Cut]:
    """Look at every window of an image.

    Args:
        annotations: of the data set.
        index: of the image in ``annotations.images``.
        rows: (R,) the annotations of that image.
        settings: the rules.

    Returns:
        one ``Cut`` a window, in the order of ``grid.windows``.
    """
    image = annotations.images[index]
    own = annotations.take(rows)
    bounds, region = own.xyxy, own.is_region
    shapes = None if own.polygons is None else shapes_of(own.polygons)
    full = visible_area(bounds, shapes, (0, 0, image.width, image.height))
    cuts = []
    for x, y in windows(image.width, image.height, settings.size, settings.stride):
        window = _seen(image, (x, y), settings.size)
        left, top, right, bottom = window
        near = np.flatnonzero(
            (bounds[:, 0] < right) & (bounds[:, 2] > left)
            & (bounds[:, 1] < bottom) & (bounds[:, 3] > top)
        )  # fmt: skip
        clipped = clip(bounds[near], window)
        shown = visible_area(bounds[near], None if shapes is None else shapes[near], window)
        share = np.divide(shown, full[near], out=np.zeros(len(near)), where=full[near] > 0)
        thin = xyxy_to_xywh(clipped)[:, 2:].min(axis=1, initial=np.inf) < _SLIVER
        seen = np.where(thin, share >= _WHOLE, share > 0)
        near, share = near[seen], np.minimum(share[seen], 1.0)
        fate = _fates(region[near], own.ignore[near], share, settings)
        cuts.append(Cut((x, y), rows[near], share, fate))
    return cuts


def split_image(
    annotations: Annotations, index: int, rows: IntArray, settings: SplitSettings, stem: str
) -> ImageSplit:
    """Cut an image and make annotations of its patches.

    Upright boxes are clipped to what the window shows of the image. Corners are only shifted:
    clipping would bend an oriented object.

    Args:
        annotations: of the data set.
        index: of the image in ``annotations.images``.
        rows: (R,) the annotations of that image.
        settings: the rules.
        stem: what the names of its patches start with.
    """
    image = annotations.images[index]
    every = cut(annotations, index, rows, settings)
    cuts = tuple(item for item in every if _is_kept(item, annotations, image, settings))
    chosen = [item.rows[item.written] for item in cuts]
    patch = np.repeat(np.arange(len(cuts)), [len(rows) for rows in chosen])
    own = annotations.take(_join(chosen, np.int64))
    start = np.array([item.start for item in cuts], np.float64).reshape(-1, 2)[patch]
    shifted = _shift(own, start, image, settings.size)
    return ImageSplit(
        cuts=cuts,
        skipped=len(every) - len(cuts),
        annotations=replace(
            shifted,
            images=tuple(_record(image, item.start, settings, stem) for item in cuts),
            ids=np.arange(1, len(own) + 1),
            image_index=patch,
            ignore=_join([item.fate[item.written] for item in cuts], np.int8) == Fate.IGNORE,
        ),
        truncated=~_join([item.whole[item.written] for item in cuts], np.bool_),
    )


def join_splits(parts: Sequence[ImageSplit]) -> ImageSplit:
    """Join the patches of one image at several scales, in order."""
    if len(parts) == 1:
        return parts[0]
    owns = [part.annotations for part in parts]
    starts = np.cumsum([0, *(len(own.images) for own in owns)])
    count = sum(map(len, owns))
    shapes = [own.polygons for own in owns if own.polygons is not None]
    obbs = [own.obb for own in owns if own.obb is not None]
    return ImageSplit(
        cuts=tuple(item for part in parts for item in part.cuts),
        skipped=sum(part.skipped for part in parts),
        annotations=Annotations(
            images=tuple(image for own in owns for image in own.images),
            categories=owns[0].categories,
            ids=np.arange(1, count + 1),
            image_index=np.concatenate(
                [own.image_index + first for own, first in zip(owns, starts[:-1], strict=True)]
            ),
            labels=np.concatenate([own.labels for own in owns]),
            xywh=np.concatenate([own.xywh for own in owns]),
            area=np.concatenate([own.area for own in owns]),
            ignore=np.concatenate([own.ignore for own in owns]),
            obb=np.concatenate(obbs) if obbs else None,
            polygons=Polygons.join(shapes) if shapes else None,
        ),
        truncated=np.concatenate([part.truncated for part in parts]),
    )


def painted_rows(annotations: Annotations, rows: IntArray, settings: SplitSettings) -> IntArray:
    """Return which of an image's annotations (R,) are painted over."""
    return rows[annotations.is_region[rows]] if settings.ignore == "fill" else rows[:0]


def _seen(image: ImageRecord, start: tuple[int, int], size: int) -> tuple[int, int, int, int]:
    """Return what a window shows of the image: left, top, right, bottom."""
    x, y = start
    return x, y, min(x + size, image.width), min(y + size, image.height)


def _fates(
    region: BoolArray, ignored: BoolArray, share: FloatArray, settings: SplitSettings
) -> npt.NDArray[np.int8]:
    """Decide what becomes of annotations that show a share each."""
    least = settings.min_visible
    enough = share >= least if settings.keep_at_min else share > least
    too_little = Fate.IGNORE if settings.truncated == "ignore" else Fate.DROP
    of_region = Fate.IGNORE if settings.ignore == "flag" else Fate.DROP
    of_object = np.where(enough, np.where(ignored, Fate.IGNORE, Fate.KEEP), too_little)
    return np.where(region, of_region, of_object).astype(np.int8)


def _is_kept(
    item: Cut, annotations: Annotations, image: ImageRecord, settings: SplitSettings
) -> bool:
    """Tell whether a window becomes a patch; of empty ones by their place, so that runs agree."""
    objects = item.written & ~annotations.is_region[item.rows]
    if settings.empty == "keep" or objects.any():
        return True
    if settings.empty == "skip":
        return False
    place = f"{image.file_name}:{item.start[0]}:{item.start[1]}".encode()
    return zlib.crc32(place) / 2**32 < settings.empty


def _record(
    image: ImageRecord, start: tuple[int, int], settings: SplitSettings, stem: str
) -> ImageRecord:
    """Return the patch that starts at a corner; its id is given when it is written."""
    size = settings.size
    name = f"{IMAGES}/{stem}__{size}__{start[0]}___{start[1]}.{settings.format}"
    return ImageRecord(0, name, size, size, image.id, image.file_name, start)


def _shift(own: Annotations, start: FloatArray, image: ImageRecord, size: int) -> Annotations:
    """Move annotations into the pixels of windows starting at (N, 2), clipping upright boxes."""
    both = np.concatenate([start, start], axis=1)
    if own.obb is None or own.polygons is None:
        limit = np.minimum(start + size, np.array([image.width, image.height]))
        box = own.xyxy
        low, high = np.maximum(box[:, :2], start), np.minimum(box[:, 2:], limit)
        xywh = xyxy_to_xywh(np.concatenate([low, high], axis=1) - both)
        return replace(own, xywh=xywh, area=xywh[:, 2] * xywh[:, 3])
    zero = np.zeros((len(own), 5))
    zero[:, :2] = start
    shift = np.repeat(start, np.diff(own.polygons.offsets), axis=0)
    return replace(
        own,
        xywh=own.xywh - np.concatenate([start, np.zeros_like(start)], axis=1),
        obb=own.obb - zero,
        polygons=Polygons(own.polygons.points - shift, own.polygons.offsets),
    )


def _join(parts: Sequence[npt.NDArray[T]], kind: type[T]) -> npt.NDArray[T]:
    """Concatenate, also none."""
    return np.concatenate([*parts, np.zeros(0, kind)])
