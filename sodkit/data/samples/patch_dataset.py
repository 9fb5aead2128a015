"""Annotations and image files as training samples.

Every random choice comes from (seed, epoch, index, copy), none from a worker's state: the same
samples at any number of workers, and after resuming.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sodkit.arrays import BoolArray, FloatArray, IntArray
from sodkit.data.batches import Batch, Target
from sodkit.data.checking.oddities import MIN_SIDE
from sodkit.data.formats.source import advised
from sodkit.data.images.decoding import RgbImage, read_image
from sodkit.data.records import Annotations, ImageRecord
from sodkit.data.samples import cropping, transforms
from sodkit.data.samples.augmentation import Augmentation, Placed
from sodkit.data.samples.repeats import repeats
from sodkit.errors import ImageError
from sodkit.geometry import rotated
from sodkit.settings import Input, Schedule

Key = tuple[int, int] | tuple[int, int, int]
"""(epoch, index into the data set's images); of an image's second copy in the epoch also 1, ..."""


Memory = Callable[[tuple[int, ...]], Tensor]
"""Makes a contiguous uint8 tensor of a size, not yet written."""


def new_memory(size: tuple[int, ...]) -> Tensor:
    """Return a uint8 tensor of ``size``, not yet written."""
    return torch.empty(size, dtype=torch.uint8)


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
        plan = self._plan(key)
        return self._sample(plan, np.empty((*plan.placed.size, 3), np.uint8), None)

    def batch(self, keys: Sequence[Key], memory: Memory = new_memory) -> Batch:
        """Read, resize, flip and turn images, each to its place in the memory of a batch.

        What is drawn and the annotations say how large each image will be before it is read.

        Args:
            keys: of the samples.
            memory: makes the batch's memory.

        Raises:
            DataError: an image that cannot be read as annotated.
        """
        plans = [self._plan(key) for key in keys]
        pixels = canvas([plan.placed.size for plan in plans], self._settings, memory)
        samples = []
        decoded: RgbImage | None = None
        for plan, place in zip(plans, pixels.numpy(), strict=True):
            height, width = plan.placed.size
            size = (plan.record.height, plan.record.width, 3)
            if decoded is None or decoded.shape != size:
                decoded = np.empty(size, np.uint8)
            samples.append(self._sample(plan, place[:height, :width], decoded))
        return Batch(
            pixels.permute(0, 3, 1, 2),
            sizes=tuple(plan.placed.size for plan in plans),
            scales=tuple(sample.scale for sample in samples),
            targets=tuple(_target(sample) for sample in samples),
            image_ids=tuple(sample.image_id for sample in samples),
        )

    def _plan(self, key: Key) -> _Plan:
        """Return what is known of a sample before its image is read."""
        index = self._kept[key[1]]
        record, rows = self._annotations.images[index], self._rows[index]
        rng = np.random.default_rng((self._seed, *key))
        drawn = Augmentation.draw(self._settings, rng)
        xyxy, obb = self._annotations.xyxy, self._annotations.obb
        whole = Placed(
            (record.height, record.width), xyxy[rows], None if obb is None else obb[rows]
        )
        factor, window = self._settings.scale * drawn.factor, None
        if self._settings.crop is not None:
            crop, learn = self._settings.crop, self._learnable[rows]
            window = cropping.draw(whole.size, whole.centres[learn], crop, rng)
            kept = np.where(learn, window.holds(whole.centres), window.touches(whole.xyxy))
            rows, whole = rows[kept], whole.take(kept).cut(window)
            factor *= crop.side / window.side
        size, scale = transforms.resized(whole.size, factor)
        placed = drawn.moved(whole.scaled(size, scale))
        scale = scale if drawn.turns % 2 == 0 else (scale[1], scale[0])
        return _Plan(record, rows, window, drawn, placed, scale)

    def _sample(self, plan: _Plan, into: RgbImage, decoded: RgbImage | None) -> Sample:
        """Read an image into its place, and divide its annotations into learnt and ignored ones.

        Args:
            plan: of the sample.
            into: (H, W, 3) of the size that comes out.
            decoded: memory to decode into, see ``read_image``.
        """
        record, learn = plan.record, self._learnable[plan.rows]
        try:
            image = read_image(
                self._folder / record.file_name, size=(record.width, record.height),
                into=decoded, bit_depth=self._settings.bit_depth,
            )  # fmt: skip
        except ImageError as error:
            raise advised(error) from error
        plan.drawn.render(image if plan.window is None else plan.window.cut(image), into)
        xyxy, obb = plan.placed.xyxy, plan.placed.obb
        labels = self._annotations.labels[plan.rows][learn]
        if obb is None:
            return Sample(into, xyxy[learn], labels, xyxy[~learn], plan.scale, record.id)
        # what encloses the box that is learnt: an annotated polygon may be bent
        boxes = rotated.obb_to_xyxy(obb[learn])
        return Sample(into, boxes, labels, obb[~learn], plan.scale, record.id, obb[learn])


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A sample before its image is read.

    Attributes:
        record: the image.
        rows: its annotations.
        window: what is cut from it, None: it is taken whole.
        drawn: how it is changed.
        placed: its size after that, and all of its boxes.
        scale: resize factors (x, y) of the sides as they are then.
    """

    record: ImageRecord
    rows: IntArray
    window: cropping.Window | None
    drawn: Augmentation
    placed: Placed
    scale: transforms.Scale


def _target(sample: Sample) -> Target:
    return Target(
        boxes=torch.from_numpy(sample.boxes.astype(np.float32)),
        labels=torch.from_numpy(sample.labels),
        ignore_boxes=torch.from_numpy(sample.ignore_boxes.astype(np.float32)),
        obb=None if sample.obb is None else torch.from_numpy(sample.obb.astype(np.float32)),
    )


def pad_images(
    images: Sequence[RgbImage], scales: Sequence[transforms.Scale], settings: Input
) -> Batch:
    """Join resized images to one batch of bytes, padded with 0 right and bottom.

    Args:
        images: (H, W, 3) uint8 each, already resized.
        scales: the factors (x, y) they were resized by.
        settings: the multiple to pad to.
    """
    sizes = tuple((image.shape[0], image.shape[1]) for image in images)
    pixels = canvas(sizes, settings)
    for place, image, (height, width) in zip(pixels.numpy(), images, sizes, strict=True):
        place[:height, :width] = image
    return Batch(pixels.permute(0, 3, 1, 2), sizes, tuple(scales))


def canvas(
    sizes: Sequence[tuple[int, int]], settings: Input, memory: Memory = new_memory
) -> Tensor:
    """Return memory for a batch, 0 in the padding, right and bottom; the rest is not yet written.

    The channels are last, as images are decoded.

    Args:
        sizes: (height, width) of each image.
        settings: the multiple to pad to.
        memory: makes it.

    Returns:
        (B, H, W, 3) uint8.
    """
    height, width = (
        -(-max(side) // settings.pad_to) * settings.pad_to for side in zip(*sizes, strict=True)
    )
    pixels = memory((len(sizes), height, width, 3))
    for place, (bottom, right) in zip(pixels, sizes, strict=True):
        place[:bottom, right:] = 0
        place[bottom:] = 0
    return pixels
