"""Annotations and image files as training samples and batches.

Every random choice comes from (seed, epoch, index), none from a worker's state: the same batches
at any number of workers, and after resuming.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.util import get_temp_dir
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.multiprocessing import get_sharing_strategy
from torch.utils.data import DataLoader, Dataset, Sampler

from sodkit.data import transforms
from sodkit.data.batches import Batch, Target
from sodkit.data.images import RgbImage, read_image
from sodkit.data.oddities import MIN_SIDE
from sodkit.data.records import Annotations, BoolArray, FloatArray, IntArray
from sodkit.errors import SodkitError, UsageError
from sodkit.geometry import rotated
from sodkit.settings import Input

Key = tuple[int, int]
"""(epoch, index into the data set's images)."""

SOCKET_NAME = 107
"""Bytes that the name of a Unix socket may have."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One training image after resizing and flipping, not yet normalised.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (G, 4) xyxy of the objects, in pixels of ``image``; of oriented ones the enclosing.
        labels: (G,) class indices.
        ignore_boxes: of ignored objects and regions, (I, 4) xyxy, of oriented data (I, 5).
        scale: resize factors (x, y).
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
    """Tell (N,) which annotations are learnt: not ignored, no side below ``MIN_SIDE``."""
    boxes = annotations.xywh[:, 2:] if annotations.obb is None else annotations.obb[:, 2:4]
    return np.asarray(~annotations.ignore & (boxes.min(axis=1, initial=np.inf) >= MIN_SIDE))


class TrainingSet(Dataset[Sample]):
    """Annotated images as samples, addressed by ``Key``.

    Args:
        annotations: horizontal or oriented; the order of boxes is kept.
        images: the folder where ``file_name`` starts.
        settings: resizing, normalisation, flips.
        seed: of the flips.
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

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, key: Key) -> Sample:
        """Read, resize and flip one image; raises DataError if it cannot be read as annotated."""
        epoch, number = key
        index = self._kept[number]
        record, rows = self._annotations.images[index], self._rows[index]
        image = read_image(self._folder / record.file_name, size=(record.width, record.height))
        learn = self._learnable[rows]
        image, scale = transforms.resize(image, self._settings.scale)
        xyxy = transforms.scale_boxes(self._annotations.xyxy[rows], scale)
        obb = self._annotations.obb
        turned = None if obb is None else rotated.scale(obb[rows], scale)
        rng = np.random.default_rng((self._seed, epoch, number))
        image, xyxy, turned = self._flip(image, xyxy, turned, rng)
        boxes, labels = xyxy[learn], self._annotations.labels[rows][learn]
        if turned is None:
            return Sample(image, boxes, labels, xyxy[~learn], scale, record.id)
        # what encloses the box that is learnt: an annotated polygon may be bent
        boxes = rotated.obb_to_xyxy(turned[learn])
        return Sample(image, boxes, labels, turned[~learn], scale, record.id, turned[learn])

    def _flip(
        self,
        image: RgbImage,
        xyxy: FloatArray,
        obb: FloatArray | None,
        rng: np.random.Generator,
    ) -> tuple[RgbImage, FloatArray, FloatArray | None]:
        """Mirror image and boxes with the recipe's probabilities."""
        across, down = rng.random(2)
        height, width = image.shape[:2]
        if across < self._settings.horizontal_flip:
            image, xyxy = image[:, ::-1], transforms.flip_horizontal(xyxy, width)
            obb = None if obb is None else rotated.flip_horizontal(obb, width)
        if down < self._settings.vertical_flip:
            image, xyxy = image[::-1], transforms.flip_vertical(xyxy, height)
            obb = None if obb is None else rotated.flip_vertical(obb, height)
        return image, xyxy, obb


class EpochBatches(Sampler[list[Key]]):
    """The batches of one epoch: a permutation drawn from (seed, epoch), cut into batches.

    ``epoch`` is set before each pass; it travels in the keys, so workers need no telling.
    """

    def __init__(self, count: int, batch: int, *, seed: int) -> None:
        self._count, self._batch, self._seed = count, batch, seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self._count // self._batch)

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.random.default_rng((self._seed, self.epoch)).permutation(self._count)
        for start in range(0, self._count, self._batch):
            yield [(self.epoch, int(index)) for index in order[start : start + self._batch]]


def collate(samples: Sequence[Sample], *, settings: Input) -> Batch:
    """Normalise samples and pad them to one size."""
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
    """Normalise resized images and zero-pad them, right and bottom, to one batch.

    Args:
        images: (H, W, 3) uint8 each, already resized.
        scales: the factors (x, y) they were resized by.
        settings: mean, std and the multiple to pad to.
        targets: their ground truth, if any.
        image_ids: their ids, if known.
    """
    sizes = tuple((image.shape[0], image.shape[1]) for image in images)
    height, width = (
        -(-max(side) // settings.pad_to) * settings.pad_to for side in zip(*sizes, strict=True)
    )
    pixels = torch.zeros(len(images), 3, height, width)
    for row, image in enumerate(images):
        part = transforms.normalise(image, settings.mean, settings.std)
        pixels[row, :, : part.shape[1], : part.shape[2]] = torch.from_numpy(part)
    return Batch(pixels, sizes, tuple(scales), targets, image_ids)


class Batches:
    """A training set as batches, epoch by epoch, read by worker processes that live on.

    Args:
        dataset: the samples.
        settings: how they are normalised and padded.
        batch: samples a batch; the last one of an epoch may be smaller.
        seed: of the order.
        workers: processes, 0 to read in this one.

    Raises:
        UsageError: the folder for temporary files has too long a name for worker processes.
    """

    def __init__(
        self, dataset: TrainingSet, settings: Input, *, batch: int, seed: int, workers: int
    ) -> None:
        if workers > 0:
            _check_socket_name()
        self._sampler = EpochBatches(len(dataset), batch, seed=seed)
        self._loader = DataLoader(
            _Carrying(dataset),
            batch_sampler=self._sampler,
            collate_fn=partial(_collate_or_carry, settings=settings),
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_start_worker,
        )

    def __len__(self) -> int:
        return len(self._sampler)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of ``epoch``; raises DataError for an image that cannot be read."""
        self._sampler.epoch = epoch
        for item in self._loader:
            if isinstance(item, SodkitError):
                raise item
            yield item


class _Carrying(Dataset[Sample | SodkitError]):
    """Returns errors of ours instead of raising them: torch's workers would garble them."""

    def __init__(self, dataset: TrainingSet) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, key: Key) -> Sample | SodkitError:
        try:
            return self._dataset[key]
        except SodkitError as error:
            return error


def _collate_or_carry(
    items: Sequence[Sample | SodkitError], *, settings: Input
) -> Batch | SodkitError:
    """Collate samples, or pass the first error on."""
    samples = []
    for item in items:
        if isinstance(item, SodkitError):
            return item
        samples.append(item)
    return collate(samples, settings=settings)


def _check_socket_name() -> None:
    """Refuse where a worker could not name its socket: torch would wait for it without end.

    Tensors come from a worker through a socket in the folder for temporary files, as
    ``listener-`` and eight letters; Linux takes 107 bytes for the whole name.
    """
    if get_sharing_strategy() != "file_descriptor":  # type: ignore[no-untyped-call]
        return
    folder = get_temp_dir()
    longest = SOCKET_NAME - len("/listener-12345678")
    if len(os.fsencode(folder)) > longest:
        raise UsageError(
            f"the name is too long: worker processes cannot open a socket in it ({longest} bytes)",
            where=folder,
            hint="set TMPDIR to a folder with a shorter name, /tmp say; --workers 0 needs none",
        )


def _start_worker(_: int) -> None:
    """Keep OpenCV to one thread: the workers are the parallelism."""
    cv2.setNumThreads(0)
