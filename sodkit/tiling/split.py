"""The annotations of an image's patches: what its windows show, shifted into their pixels.

``cuts.py`` says which window shows what, painting is ``paint.py``, files are ``split_dataset.py``.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.records import Annotations, ImageRecord, Polygons
from sodkit.geometry.boxes import xyxy_to_xywh
from sodkit.tiling.cuts import Cuts, Status, cut
from sodkit.tiling.settings import SplitSettings

IMAGES = "images"
"""The folder of the patches, beside their annotations."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSplit:
    """The patches of one image.

    Attributes:
        cuts: the windows that become patches, in order, and what they show.
        skipped: number of windows left out because they show no object.
        annotations: of the patches; ``images`` go with ``cuts``, ids count from 1.
        truncated: (N,) true where a patch shows only a part of what the image shows.
    """

    cuts: Cuts
    skipped: int
    annotations: Annotations
    truncated: BoolArray


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
    cuts = every.take_windows(_kept(every, annotations, image, settings))
    written = np.flatnonzero(cuts.written)
    patch = cuts.window[written]
    own = annotations.take(cuts.rows[written])
    shifted = _shift(own, cuts.starts[patch].astype(np.float64), image, settings.size)
    return ImageSplit(
        cuts=cuts,
        skipped=len(every) - len(cuts),
        annotations=replace(
            shifted,
            images=_records(image, cuts, settings, stem),
            ids=np.arange(1, len(own) + 1),
            image_index=patch,
            ignore=cuts.status[written] == Status.IGNORE,
        ),
        truncated=~cuts.whole[written],
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
        cuts=Cuts.join([part.cuts for part in parts]),
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


def _kept(
    cuts: Cuts, annotations: Annotations, image: ImageRecord, settings: SplitSettings
) -> BoolArray:
    """Return (W,) which windows become patches; empty ones by their place, so that runs agree."""
    if settings.empty == "keep":
        return np.ones(len(cuts), np.bool_)
    kept = np.zeros(len(cuts), np.bool_)
    kept[cuts.window[cuts.written & ~annotations.is_region[cuts.rows]]] = True
    if settings.empty != "skip":
        empty = np.flatnonzero(~kept)
        for window, (x, y) in zip(empty.tolist(), cuts.starts[empty].tolist(), strict=True):
            place = f"{image.file_name}:{x}:{y}".encode()
            kept[window] = zlib.crc32(place) / 2**32 < settings.empty
    return kept


def _records(
    image: ImageRecord, cuts: Cuts, settings: SplitSettings, stem: str
) -> tuple[ImageRecord, ...]:
    """Return the patches; their ids are given when they are written."""
    size, suffix = settings.size, settings.format
    return tuple(
        ImageRecord(
            0, f"{IMAGES}/{patch_name(stem, size, (x, y), suffix)}",
            size, size, image.id, image.file_name, (x, y),
        )
        for x, y in cuts.starts.tolist()
    )  # fmt: skip


def patch_name(stem: str, size: int, start: tuple[int, int], suffix: str) -> str:
    """Return the file name of the patch at ``start``, as the releases name theirs."""
    return f"{stem}__{size}__{start[0]}___{start[1]}.{suffix}"


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
