"""Prediction on whole images: windows in batches through the detector, merged per image.

Images stream: a thread pool decodes and cuts the next ones while the detector works, and an image
is merged as soon as its last window is done, so memory does not grow with the number of images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from sodkit.data.batches import PatchDetections
from sodkit.data.images.decoding import RgbImage, read_image
from sodkit.data.records import Detections, ImageRecord
from sodkit.data.samples import transforms
from sodkit.data.samples.normalise import normalised
from sodkit.data.samples.patch_dataset import pad_images
from sodkit.engine.check_output import check_detections
from sodkit.engine.device import autocast
from sodkit.errors import DataError, UsageError
from sodkit.geometry.boxes import xyxy_to_xywh
from sodkit.geometry.rotated import canonical, obb_to_xywh
from sodkit.models.detector import DetectorModule, Proposes
from sodkit.settings import Keep, Recipe
from sodkit.threads import map_in_order
from sodkit.tiling.grid import windows
from sodkit.tiling.merge import merge_patches


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How images are cut and their detections merged; see ``sodkit predict --help``.

    Attributes:
        size, stride: windows in px; size None: the whole image at once.
        batch: windows a batch.
        keep: score threshold, NMS and limit inside a window.
        merge_nms: IoU above which detections of one class in different patches are one.
        proposals: give this many class-agnostic proposals a patch instead of detections.
        readers: threads that decode images.
        bit_depth: bits in use of images of more than 8; None: each by its own range.
    """

    size: int | None
    stride: int
    merge_nms: float
    batch: int = 4
    keep: Keep = field(default_factory=Keep)
    proposals: int | None = None
    readers: int = 2
    bit_depth: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None and not 1 <= self.stride <= self.size:
            raise UsageError(
                f"a stride of {self.stride} px for windows of {self.size} px leaves gaps",
                where="--stride", hint="give 1 px to the window's size",
            )  # fmt: skip

    @classmethod
    def of(cls, recipe: Recipe) -> PredictOptions:
        """Return the recipe's own options."""
        return cls(
            size=recipe.input.patch, stride=recipe.input.stride, merge_nms=recipe.merge.nms,
            batch=recipe.schedule.batch, keep=recipe.keep, bit_depth=recipe.input.bit_depth,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """One window of an image, resized; ``last`` marks the image's last one."""

    image: ImageRecord
    start: tuple[int, int]
    pixels: RgbImage
    scale: transforms.Scale
    last: bool

    @property
    def extent(self) -> tuple[float, float]:
        """(width, height) of the window in px of the image."""
        height, width = self.pixels.shape[:2]
        return width / self.scale[0], height / self.scale[1]


def predict_images(
    detector: DetectorModule,
    recipe: Recipe,
    images: Sequence[ImageRecord],
    folder: Path,
    *,
    device: torch.device,
    options: PredictOptions | None = None,
    classes: int | None = None,
    on_bad: Callable[[ImageRecord, DataError], None] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Detections:
    """Detect objects in whole images.

    Args:
        detector: in evaluation mode, on ``device``.
        recipe: its recipe: resizing and normalisation.
        images: what to look at; ``file_name`` starts at ``folder``; their sizes are checked.
        folder: see ``images``.
        device: where to compute.
        options: windows and merging; None: the recipe's.
        classes: how many there are; labels beyond are an error; None: not checked.
        on_bad: called with an image that cannot be read and why; it is left out. None: an error.
        progress: called with (images done, images in all).

    Returns:
        detections in pixels of the whole images, image by image in the given order.

    Raises:
        DataError: an image that cannot be read or has another size than stated.
        ModelError: the detector returns what cannot be: NaN, wrong shapes, boxes elsewhere.
    """
    options = options or PredictOptions.of(recipe)
    results: list[Detections] = []
    parts: list[Detections] = []
    stream = _windows_of(images, folder, recipe, options, on_bad)
    with torch.inference_mode():
        for batch in _batched(stream, options.batch):
            for window, found in zip(
                batch, _run(detector, batch, recipe, options, device, classes), strict=True
            ):
                parts.append(_in_image(found, window, options.keep.score))
                if window.last:
                    results.append(_merged(Detections.concatenate(parts, recipe.boxes), options))
                    parts = []
                    progress(len(results), len(images))
    return Detections.concatenate(results, recipe.boxes)


def _merged(found: Detections, options: PredictOptions) -> Detections:
    """Merge an image's detections; proposals keep all, their overlaps are the point of them."""
    return found if options.proposals is not None else merge_patches(found, options.merge_nms)


def _run(
    detector: DetectorModule,
    batch: Sequence[_Window],
    recipe: Recipe,
    options: PredictOptions,
    device: torch.device,
    classes: int | None,
) -> list[PatchDetections]:
    """Run the detector on a batch of windows."""
    loaded = pad_images([w.pixels for w in batch], [w.scale for w in batch], recipe.input)
    tensors = normalised(loaded.to(device), recipe.input)
    with autocast(device, recipe.schedule.precision):
        if options.proposals is not None:
            if not isinstance(detector, Proposes):
                raise UsageError(
                    f"{type(detector).__name__} has no proposals", where="--proposals",
                    hint="leave it away, or give a two-stage detector",
                )  # fmt: skip
            found = detector.propose(tensors, options.proposals)
        else:
            found = detector.detect(tensors, options.keep)
    check_detections(
        detector, found, [(w.image.file_name, w.extent) for w in batch], classes=classes
    )
    return found


def _in_image(found: PatchDetections, window: _Window, score: float) -> Detections:
    """Move detections of a window into its image; drop low scores and what lies in padding."""
    if found.obb is not None:
        return _oriented_in_image(found, found.obb, window, score)
    xyxy = found.boxes.double().cpu().numpy() + np.array([*window.start, *window.start])
    scores = found.scores.double().cpu().numpy()
    limit = np.array([window.image.width, window.image.height] * 2, np.float64)
    xyxy = np.clip(xyxy, 0, limit)
    keep = (scores >= score) & (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
    return Detections(
        image_ids=np.full(int(keep.sum()), window.image.id, np.int64),
        labels=found.labels.cpu().numpy()[keep],
        scores=scores[keep],
        xywh=xyxy_to_xywh(xyxy[keep]),
    )


def _oriented_in_image(
    found: PatchDetections, boxes: torch.Tensor, window: _Window, score: float
) -> Detections:
    """Do the same for oriented boxes: those centred in the image stay, and stay whole."""
    obb = canonical(boxes.double().cpu().numpy())
    obb[:, :2] += np.array(window.start, np.float64)
    scores = found.scores.double().cpu().numpy()
    limit = np.array([window.image.width, window.image.height], np.float64)
    inside = ((obb[:, :2] >= 0) & (obb[:, :2] <= limit)).all(axis=1)
    keep = (scores >= score) & inside & (obb[:, 2:4] > 0).all(axis=1)
    return Detections(
        image_ids=np.full(int(keep.sum()), window.image.id, np.int64),
        labels=found.labels.cpu().numpy()[keep],
        scores=scores[keep],
        xywh=obb_to_xywh(obb[keep]),
        obb=obb[keep],
    )


def _windows_of(
    images: Sequence[ImageRecord],
    folder: Path,
    recipe: Recipe,
    options: PredictOptions,
    on_bad: Callable[[ImageRecord, DataError], None] | None,
) -> Iterator[_Window]:
    """Yield the windows of all images in order, reading ahead in threads."""
    readers = options.readers

    def work(image: ImageRecord) -> list[_Window] | DataError:
        try:
            return _cut(image, folder, recipe, options)
        except DataError as error:
            return error

    for image, cut in zip(images, map_in_order(work, images, readers, ahead=readers), strict=True):
        if not isinstance(cut, DataError):
            yield from cut
        elif on_bad is None:
            raise cut
        else:
            on_bad(image, cut)


def _cut(
    image: ImageRecord, folder: Path, recipe: Recipe, options: PredictOptions
) -> list[_Window]:
    """Read an image and cut it into resized windows, padded to the window's size if smaller."""
    pixels = read_image(
        folder / image.file_name, size=(image.width, image.height), bit_depth=options.bit_depth
    )
    if options.size is None:
        starts, size = [(0, 0)], max(image.width, image.height)
    else:
        starts = windows(image.width, image.height, options.size, options.stride)
        size = options.size
    cut = []
    for number, (x, y) in enumerate(starts):
        part = pixels[y : y + size, x : x + size]
        if options.size is not None:
            part = transforms.pad(part, (size, size), recipe.input.fill)
        part, scale = transforms.resize(part, recipe.input.scale)
        cut.append(_Window(image, (x, y), part, scale, number + 1 == len(starts)))
    return cut


def _batched(stream: Iterable[_Window], count: int) -> Iterator[list[_Window]]:
    """Group windows into lists of ``count``, the last one shorter."""
    batch: list[_Window] = []
    for window in stream:
        batch.append(window)
        if len(batch) == count:
            yield batch
            batch = []
    if batch:
        yield batch
