"""Annotations and image files as training samples.

Every random choice comes from (seed, epoch, index, copy), none from a worker's state: the same
samples at any number of workers, and after resuming.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.batches import Batch, Target
from sodkit.data.checking.oddities import MIN_SIDE
from sodkit.data.formats.source import advised
from sodkit.data.images.decoding import RgbImage, read_image
from sodkit.data.records import Annotations, ImageRecord
from sodkit.data.samples import transforms
from sodkit.data.samples.augmentation import Augmentation, Placed
from sodkit.data.samples.repeats import repeats
from sodkit.errors import ImageError
from sodkit.geometry import rotated
from sodkit.settings import Input, Schedule

Key = tuple[int, int] | tuple[int, int, int]
"""(epoch, index into the data set's images); of an image's second copy in the epoch also 1, ..."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One training image after resizing, flipping and turning, not yet normalised.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (G, 4) xyxy of the objects, in pixels of ``image``; of oriented ones the enclosing.
        labels: (G,) class indices.
        ignore_boxes: of ignored objects and regions, (I, 4) xyxy, of oriented data (I, 5).
        scale: resize factors (x, y) of the sides as they are now.
        image_id: the image's id.
        obb: (G, 5) oriented boxes, None if the data are horizontal.
    """

    image: RgbImage
    boxes: FloatArray
    labels: IntArray
    ignore_boxes: FloatArray
    scale: transforms.Scale
    image_id: int
    obb: FloatArray | None = None


def learnable(annotations: Annotations) -> BoolArray:
    """Return (N,) which annotations are learnt: not ignored, no side below ``MIN_SIDE``."""
    boxes = annotations.xywh[:, 2:] if annotations.obb is None else annotations.obb[:, 2:4]
    return np.asarray(~annotations.ignore & (boxes.min(axis=1, initial=np.inf) >= MIN_SIDE))


class TrainingSet(Dataset[Sample]):
    """Annotated images as samples, addressed by ``Key``.

    Args:
        annotations: horizontal or oriented; the order of boxes is kept.
        images: the folder where ``file_name`` starts.
        settings: resizing, flips, turns.
        seed: of what is drawn.
        keep_empty: keep images without learnable objects, as negatives.
    """

    def __init__(
        self,
        annotations: Annotations,
        images: Path,
        settings: Input,
        *,
        seed: int,
        keep_empty: bool = True,
    ) -> None:
        self._annotations = annotations
        self._folder = images
        self._settings = settings
        self._seed = seed
        self._rows = annotations.rows_by_image()
        self._learnable = learnable(annotations)
        self._kept = [
            index
            for index, rows in enumerate(self._rows)
            if keep_empty or self._learnable[rows].any()
        ]

    @property
    def images(self) -> tuple[ImageRecord, ...]:
        """The images that are trained on."""
        return tuple(self._annotations.images[index] for index in self._kept)

    @property
    def object_counts(self) -> IntArray:
        """Return how many objects of each image are learnt."""
        counts = [self._learnable[self._rows[index]].sum() for index in self._kept]
        return np.array(counts, np.int64)

    def with_settings(self, settings: Input) -> TrainingSet:
        """Return the same images with other settings."""
        changed = copy(self)
        changed._settings = settings
        return changed

    def repeats(self, schedule: Schedule) -> FloatArray | None:
        """Return how often an epoch takes each image on average; None: each once."""
        data = self._annotations
        rows = [self._rows[index] for index in self._kept]
        return repeats(rows, data.labels, data.area, self._learnable, schedule)

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, key: Key) -> Sample:
        """Read, resize, flip and turn one image.

        Raises:
            DataError: it cannot be read as annotated.
        """
        index = self._kept[key[1]]
        record, rows = self._annotations.images[index], self._rows[index]
        try:
            image = read_image(
                self._folder / record.file_name, size=(record.width, record.height),
                bit_depth=self._settings.bit_depth,
            )  # fmt: skip
        except ImageError as error:
            raise advised(error) from error
        drawn = Augmentation.draw(self._settings, np.random.default_rng((self._seed, *key)))
        image, scale = transforms.resize(image, self._settings.scale * drawn.factor)
        xyxy = transforms.scale_boxes(self._annotations.xyxy[rows], scale)
        obb = self._annotations.obb
        placed = Placed(image, xyxy, None if obb is None else rotated.scale(obb[rows], scale))
        placed = drawn.moved(placed)
        scale = scale if drawn.turns % 2 == 0 else (scale[1], scale[0])
        return self._sample(placed, rows, scale, record.id)

    def _sample(
        self, placed: Placed, rows: IntArray, scale: transforms.Scale, image_id: int
    ) -> Sample:
        """Divide the annotations ``rows`` of an image into what is learnt and what is ignored."""
        learn = self._learnable[rows]
        image, xyxy, obb = placed.image, placed.xyxy, placed.obb
        labels = self._annotations.labels[rows][learn]
        if obb is None:
            return Sample(image, xyxy[learn], labels, xyxy[~learn], scale, image_id)
        # what encloses the box that is learnt: an annotated polygon may be bent
        boxes = rotated.obb_to_xyxy(obb[learn])
        return Sample(image, boxes, labels, obb[~learn], scale, image_id, obb[learn])


def collate(samples: Sequence[Sample], *, settings: Input) -> Batch:
    """Join samples, padded to one size."""
    targets = tuple(
        Target(
            boxes=torch.from_numpy(sample.boxes.astype(np.float32)),
            labels=torch.from_numpy(sample.labels),
            ignore_boxes=torch.from_numpy(sample.ignore_boxes.astype(np.float32)),
            obb=None if sample.obb is None else torch.from_numpy(sample.obb.astype(np.float32)),
        )
        for sample in samples
    )
    return pad_images(
        [sample.image for sample in samples],
        [sample.scale for sample in samples],
        settings,
        targets=targets,
        image_ids=tuple(sample.image_id for sample in samples),
    )


def pad_images(
    images: Sequence[RgbImage],
    scales: Sequence[transforms.Scale],
    settings: Input,
    *,
    targets: tuple[Target, ...] = (),
    image_ids: tuple[int, ...] = (),
) -> Batch:
    """Join resized images to one batch of bytes, padded with 0 right and bottom.

    Args:
        images: (H, W, 3) uint8 each, already resized.
        scales: the factors (x, y) they were resized by.
        settings: the multiple to pad to.
        targets: their ground truth, if any.
        image_ids: their ids, if known.
    """
    sizes = tuple((image.shape[0], image.shape[1]) for image in images)
    height, width = (
        -(-max(side) // settings.pad_to) * settings.pad_to for side in zip(*sizes, strict=True)
    )
    pixels = np.empty((len(images), height, width, 3), np.uint8)
    for row, (image, (bottom, right)) in enumerate(zip(images, sizes, strict=True)):
        pixels[row, :bottom, :right] = image
        pixels[row, :bottom, right:] = 0
        pixels[row, bottom:] = 0
    # in memory the channels stay last, as they were decoded
    return Batch(
        torch.from_numpy(pixels).permute(0, 3, 1, 2), sizes, tuple(scales), targets, image_ids
    )
