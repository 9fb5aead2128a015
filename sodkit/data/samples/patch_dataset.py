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
from sodkit.data.samples import colours, cropping, mixing, transforms
from sodkit.data.samples.augmentation import Augmentation, Placed
from sodkit.data.samples.contents import Contents
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
        epochs: of the run, the last of which are plain (``augment.plain_epochs``); None: none is.
    """

    def __init__(
        self,
        annotations: Annotations,
        images: Path,
        settings: Input,
        *,
        seed: int,
        keep_empty: bool = True,
        epochs: int | None = None,
    ) -> None:
        self._annotations = annotations
        self._folder = images
        self._settings = settings
        self._seed, self._epochs = seed, epochs
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
        return self._sample(plan, np.empty((*plan.size, 3), np.uint8), None)

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
        pixels = canvas([plan.size for plan in plans], self._settings, memory)
        samples = []
        decoded: RgbImage | None = None
        for plan, place in zip(plans, pixels.numpy(), strict=True):
            height, width = plan.size
            record = self._record(plan.number)
            size = (record.height, record.width, 3)
            if decoded is None or decoded.shape != size:
                decoded = np.empty(size, np.uint8)
            samples.append(self._sample(plan, place[:height, :width], decoded))
        return Batch(
            pixels.permute(0, 3, 1, 2),
            sizes=tuple(plan.size for plan in plans),
            scales=tuple(sample.scale for sample in samples),
            targets=tuple(_target(sample) for sample in samples),
            image_ids=tuple(sample.image_id for sample in samples),
            plain=any(self._is_plain(key[0]) for key in keys),
        )

    def _is_plain(self, epoch: int) -> bool:
        """Return whether an epoch is one of the last ones, whose images are not mixed."""
        last = self._settings.augment.plain_epochs
        return self._epochs is not None and epoch >= self._epochs - last

    def _contents(self, number: int) -> Contents:
        """Return what is annotated in the image of this number."""
        index = self._kept[number]
        record, rows = self._annotations.images[index], self._rows[index]
        xyxy, obb = self._annotations.xyxy, self._annotations.obb
        placed = Placed(
            (record.height, record.width), xyxy[rows], None if obb is None else obb[rows]
        )
        return Contents(placed, rows, self._learnable[rows])

    def _plan(self, key: Key) -> _Plan:
        """Return what is known of a sample before its image is read."""
        rng = np.random.default_rng((self._seed, *key))
        drawn = Augmentation.draw(self._settings, rng)
        augment = self._settings.augment
        picture: cropping.Window | mixing.Mix | None
        if augment.mixes and not self._is_plain(key[0]):
            album = mixing.Album(len(self), self._contents)
            picture, shown = mixing.draw(key[1], album, self._settings, drawn.factor, rng)
            scale = picture.scale
        else:
            picture, shown, scale = self._single(key[1], drawn.factor, rng)
        tint = None if augment.colours is None else colours.draw(augment.colours, rng)
        shown = shown.at(drawn.moved(shown.placed))
        scale = scale if drawn.turns % 2 == 0 else (scale[1], scale[0])
        return _Plan(key[1], picture, shown, drawn, tint, scale)

    def _single(
        self, number: int, factor: float, rng: np.random.Generator
    ) -> tuple[cropping.Window | None, Contents, transforms.Scale]:
        """Return what is cut from an image, None: it is taken whole; what that shows; its scale."""
        shown, window = self._contents(number), None
        factor *= self._settings.scale
        if self._settings.crop is not None:
            crop, whole = self._settings.crop, shown.placed
            window = cropping.draw(whole.size, whole.centres[shown.learn], crop, rng)
            held, touched = window.holds(whole.centres), window.touches(whole.xyxy)
            shown = shown.take(np.where(shown.learn, held, touched))
            shown = shown.at(shown.placed.cut(window))
            factor *= crop.side / window.side
        size, scale = transforms.resized(shown.placed.size, factor)
        return window, shown.at(shown.placed.scaled(size, scale)), scale

    def _sample(self, plan: _Plan, into: RgbImage, decoded: RgbImage | None) -> Sample:
        """Read an image into its place, and divide its annotations into learnt and ignored ones.

        Args:
            plan: of the sample.
            into: (H, W, 3) of the size that comes out.
            decoded: memory to decode into, see ``read_image``.
        """
        match plan.picture:
            case mixing.Mix() as mix:
                # its images may differ in size, so that each gets its own memory
                image = mix.render(lambda number: self._read(number, None))
            case cropping.Window() as window:
                image = window.cut(self._read(plan.number, decoded))
            case None:
                image = self._read(plan.number, decoded)
        plan.drawn.render(image, into)
        if plan.tint is not None:
            plan.tint.apply(into)
        placed, rows, learn = plan.shown.placed, plan.shown.rows, plan.shown.learn
        xyxy, obb = placed.xyxy, placed.obb
        labels, image_id = self._annotations.labels[rows][learn], self._record(plan.number).id
        if obb is None:
            return Sample(into, xyxy[learn], labels, xyxy[~learn], plan.scale, image_id)
        # what encloses the box that is learnt: an annotated polygon may be bent
        boxes = rotated.obb_to_xyxy(obb[learn])
        return Sample(into, boxes, labels, obb[~learn], plan.scale, image_id, obb[learn])

    def _record(self, number: int) -> ImageRecord:
        return self._annotations.images[self._kept[number]]

    def _read(self, number: int, into: RgbImage | None) -> RgbImage:
        """Return the pixels of the image of this number; see ``read_image``."""
        record = self._record(number)
        try:
            return read_image(
                self._folder / record.file_name, size=(record.width, record.height),
                into=into, bit_depth=self._settings.bit_depth,
            )  # fmt: skip
        except ImageError as error:
            raise advised(error) from error


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A sample before its image is read.

    Attributes:
        number: of its image, or the first of its images.
        picture: what is cut from the image, None: it is taken whole; or how several are mixed.
        shown: what it shows in the end.
        drawn: how it is flipped and turned.
        tint: how its colours are changed, None: not.
        scale: resize factors (x, y) of the sides as they are in the end.
    """

    number: int
    picture: cropping.Window | mixing.Mix | None
    shown: Contents
    drawn: Augmentation
    tint: colours.Shift | None
    scale: transforms.Scale

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in the end."""
        return self.shown.placed.size


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
