"""Batches of windows through the detector, with threads that read ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from sodkit.data.batches import PatchDetections
from sodkit.data.images.decoding import RgbImage
from sodkit.data.images.pixel_source import OpenImage, PixelSource
from sodkit.data.records import Detections, ImageRecord
from sodkit.data.samples import transforms
from sodkit.data.samples.normalise import normalised
from sodkit.data.samples.patch_dataset import pad_images
from sodkit.engine.check_output import check_detections
from sodkit.engine.device import autocast
from sodkit.engine.predict_options import PredictOptions
from sodkit.engine.window_plan import Batch, Window
from sodkit.errors import DataError, UsageError
from sodkit.geometry.boxes import xyxy_to_xywh
from sodkit.geometry.rotated import canonical, obb_to_xywh
from sodkit.models.detector import DetectorModule, Proposes
from sodkit.settings import Recipe
from sodkit.threads import map_in_order

Found = Detections | DataError
"""What is found in a window or an image, or why it cannot be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A window's pixels, resized."""

    window: Window
    image: ImageRecord
    pixels: RgbImage
    scale: transforms.Scale

    @property
    def extent(self) -> tuple[float, float]:
        """(width, height) of the window in px of the image."""
        height, width = self.pixels.shape[:2]
        return width / self.scale[0], height / self.scale[1]


def detect_batches(
    run: Callable[[Sequence[Cut]], list[Detections]],
    images: Sequence[ImageRecord],
    plan: Iterable[Batch],
    options: PredictOptions,
    recipe: Recipe,
    open_image: OpenImage,
) -> Iterator[tuple[Window, Found]]:
    """Yield each window of a plan and what is found in it, in order, reading ahead in threads.

    Args:
        run: detects in the windows of a batch that can be read, if there are any.
        images: that the windows are of.
        plan: batches of windows; some of an image's are enough.
        options: windows and threads.
        recipe: resizing.
        open_image: gives the pixels of an image.
    """
    work = partial(_cut_batch, images, options, recipe)
    readers = options.readers
    for batch in map_in_order(work, _opened(images, plan, open_image), readers, ahead=readers):
        cut = [one for one in batch if isinstance(one, Cut)]
        found = iter(run(cut) if cut else ())
        for one in batch:
            yield (one.window, next(found)) if isinstance(one, Cut) else one


def detect(
    detector: DetectorModule,
    recipe: Recipe,
    options: PredictOptions,
    device: torch.device,
    classes: int | None,
    batch: Sequence[Cut],
) -> list[Detections]:
    """Run the detector on a batch of windows; return detections in px of their images."""
    loaded = pad_images([w.pixels for w in batch], [w.scale for w in batch], recipe.input)
    tensors = normalised(loaded.to(device), recipe.input)
    with torch.inference_mode(), autocast(device, recipe.schedule.precision):
        if options.proposals is not None:
            if not isinstance(detector, Proposes):
                raise UsageError(
                    f"{type(detector).__name__} has no proposals", where="--proposals",
                    hint="leave it away, or give a two-stage detector",
                )  # fmt: skip
            found = detector.propose(tensors, options.proposals)
        else:
            found = detector.detect(tensors, options.keep)
        found = check_detections(
            detector, found, [(w.image.file_name, w.extent) for w in batch], classes=classes
        )
        return [
            _in_image(one, cut, options.keep.score) for one, cut in zip(found, batch, strict=True)
        ]


def _in_image(found: PatchDetections, window: Cut, score: float) -> Detections:
    """Move detections of a window into its image; drop low scores and what lies in padding."""
    if found.obb is not None:
        return _oriented_in_image(found, found.obb, window, score)
    xyxy = found.boxes.double().cpu().numpy() + np.array(
        [*window.window.start, *window.window.start]
    )
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
    found: PatchDetections, boxes: torch.Tensor, window: Cut, score: float
) -> Detections:
    """Do the same for oriented boxes: those centred in the image stay, and stay whole."""
    obb = canonical(boxes.double().cpu().numpy())
    obb[:, :2] += np.array(window.window.start, np.float64)
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


def _opened(
    images: Sequence[ImageRecord], plan: Iterable[Batch], open_image: OpenImage
) -> Iterator[tuple[Batch, list[PixelSource]]]:
    """Yield batches with the sources of their images; a source lives as long as it is needed."""
    sources: dict[int, PixelSource] = {}
    for batch in plan:
        sources = {
            index: sources.get(index) or open_image(images[index])
            for index in {window.image: None for window in batch}
        }
        yield batch, [sources[window.image] for window in batch]


def _cut_batch(
    images: Sequence[ImageRecord],
    options: PredictOptions,
    recipe: Recipe,
    opened: tuple[Batch, list[PixelSource]],
) -> list[Cut | tuple[Window, DataError]]:
    """Read the windows of a batch; of an image that cannot be read there is the reason instead."""
    cut: list[Cut | tuple[Window, DataError]] = []
    for window, source in zip(*opened, strict=True):
        try:
            part = source.read(window.start, window.side)
        except DataError as error:
            cut.append((window, error))
            continue
        if options.size is not None:
            part = transforms.pad(part, (window.side, window.side), recipe.input.fill)
        part, scale = transforms.resize(part, recipe.input.scale)
        cut.append(Cut(window, images[window.image], part, scale))
    return cut
