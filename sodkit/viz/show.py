"""One image with its boxes, as a notebook shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sodkit.arrays import IntArray
from sodkit.data.images.decoding import RgbImage, encode, write_image
from sodkit.data.images.given import ImageLike, opened
from sodkit.data.records import REGION, Annotations, Category, Detections
from sodkit.errors import UsageError
from sodkit.files import StrPath
from sodkit.viz.content import Style, select
from sodkit.viz.picture import draw_selected


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A picture that a notebook draws where it is the last value of a cell.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
    """

    pixels: RgbImage

    def __repr__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"<Shown: {width} x {height} px>"

    def _repr_png_(self) -> bytes:
        bgr = np.ascontiguousarray(self.pixels[..., ::-1])
        return encode(".png", bgr, [], "picture").tobytes()

    def save(self, path: StrPath) -> None:
        """Write the picture in the format of the suffix, such as ``.png`` or ``.jpg``.

        Raises:
            DataError: the format cannot hold it.
            UsageError: the file cannot be written.
        """
        write_image(Path(path), self.pixels)


def show(
    image: ImageLike,
    detections: Detections | None = None,
    *,
    truth: Annotations | None = None,
    categories: Sequence[Category] | None = None,
    style: Style | None = None,
) -> Shown:
    """Draw boxes on an image, for a notebook or a file.

    Args:
        image: an array or the path of a file, as ``predict_images`` takes them.
        detections: of this image only.
        truth: the annotations of this image only, with ``take``; beside detections they are drawn
            as corners.
        categories: the classes, by label; None: those of ``truth``, else numbers.
        style: how to draw; None: the defaults.

    Raises:
        DataError: the image cannot be read.
        UsageError: boxes of several images, or a label that is no class.
    """
    record, source = opened(image, 0)
    ids = () if detections is None else np.unique(detections.image_ids)
    indices = () if truth is None else np.unique(truth.image_index)
    if len(ids) > 1 or len(indices) > 1:
        raise UsageError(
            f"boxes of {max(len(ids), len(indices))} images were given for one",
            hint="choose an image's: found.take(found.image_ids == number), or "
            "truth.take(truth.image_index == index)",
        )
    labels = [one.labels for one in (detections, truth) if one is not None]
    every = np.concatenate([*labels, np.zeros(0, np.int64)])
    classes = _classes(every, truth, categories)
    style = style or Style()
    pixels = source.read((0, 0), max(record.width, record.height))
    return Shown(draw_selected(pixels, classes, select(truth, detections, style), style))


def _classes(
    labels: IntArray, truth: Annotations | None, categories: Sequence[Category] | None
) -> Sequence[Category]:
    """Return the classes that labels (N,) count, checked."""
    if categories is None and truth is not None:
        categories = truth.categories
    if categories is None:
        categories = [Category(k, f"class {k}") for k in range(int(labels.max(initial=-1)) + 1)]
    if labels.min(initial=0) < REGION or labels.max(initial=-1) >= len(categories):
        raise UsageError(
            f"label {labels.max()} is none of {len(categories)} classes",
            where="categories", hint="give the checkpoint's: loaded.categories",
        )  # fmt: skip
    return categories
