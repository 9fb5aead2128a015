"""Prediction on whole images: windows in batches through the detector, merged per image.

Images stream: threads read and resize the windows of the next batches while the detector works, and
an image is merged as soon as its last window is done. So memory does not grow with the number of
images, and one that is read by windows is never there as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sodkit.arrays import BoolArray
from sodkit.data.images.pixel_source import OpenImage, PixelSource, file_source
from sodkit.data.records import Detections, ImageRecord
from sodkit.engine.predict_options import PredictOptions
from sodkit.engine.window_detection import Found, detect, detect_batches
from sodkit.engine.window_memory import check_memory
from sodkit.engine.window_plan import Window, window_batches
from sodkit.errors import DataError
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe
from sodkit.tiling.merge import cut_by_border, merge_patches


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
    results: list[Detections] = []
    stream = predict_each(
        detector, recipe, images, folder, device=device, options=options, classes=classes
    )
    for done, (image, found) in enumerate(stream, 1):
        if not isinstance(found, DataError):
            results.append(found)
        elif on_bad is None:
            raise found
        else:
            on_bad(image, found)
        progress(done, len(images))
    return Detections.concatenate(results, recipe.boxes)


def predict_each(
    detector: DetectorModule,
    recipe: Recipe,
    images: Sequence[ImageRecord],
    folder: Path,
    *,
    device: torch.device,
    options: PredictOptions | None = None,
    classes: int | None = None,
    first: int = 0,
    open_image: OpenImage | None = None,
) -> Iterator[tuple[ImageRecord, Found]]:
    """Yield each image and what is found in it as soon as it is done, in the given order.

    Args:
        detector: in evaluation mode, on ``device``.
        recipe: its recipe: resizing and normalisation.
        images: what to look at; their sizes are checked.
        folder: where ``file_name`` starts.
        device: where to compute.
        options: windows and merging; None: the recipe's.
        classes: how many there are; labels beyond are an error; None: not checked.
        first: index of the image to begin with; its result is that of a run over all of them.
        open_image: gives the pixels of an image; None: it is a file in ``folder``.

    Raises:
        ModelError: the detector returns what cannot be: NaN, wrong shapes, boxes elsewhere.
        SodkitError: a window is larger than the memory.
    """
    options = options or PredictOptions.of(recipe)
    check_memory(images, options, recipe)
    run = partial(detect, detector, recipe, options, device, classes)
    plan = window_batches(images, options.size, options.stride, options.batch, first=first)
    stream = detect_batches(
        run, images, plan, options, recipe, open_image or files_in(folder, options)
    )
    for index, found in by_image(stream, images, options, recipe):
        if index >= first:
            yield images[index], found


def by_image(
    stream: Iterable[tuple[Window, Found]],
    images: Sequence[ImageRecord],
    options: PredictOptions,
    recipe: Recipe,
) -> Iterator[tuple[int, Found]]:
    """Merge what is found in windows, in the order of the plan; yield each image's index, too.

    Args:
        stream: windows and what is found in each.
        images: that the windows are of.
        options: how to merge.
        recipe: the kind of boxes.
    """
    parts: list[Detections] = []
    cuts: list[BoolArray] = []
    error: DataError | None = None
    for window, found in stream:
        if isinstance(found, DataError):
            error = error or found
        else:
            parts.append(found)
            cuts.append(_cut(found, window, images[window.image], options))
        if window.last:
            yield window.image, error or _merged(parts, cuts, options, recipe)
            parts, cuts, error = [], [], None


def _cut(
    found: Detections, window: Window, image: ImageRecord, options: PredictOptions
) -> BoolArray:
    """Return which boxes their window's border cuts; none where it does not matter."""
    if options.merge != "border":
        return np.zeros(0, np.bool_)
    size = (image.width, image.height)
    return cut_by_border(found, window.start, window.side, size, options.border)


def files_in(folder: Path, options: PredictOptions) -> OpenImage:
    """Return what gives the pixels of image files whose names start in a folder."""

    def open_image(image: ImageRecord) -> PixelSource:
        size = (image.width, image.height)
        return file_source(
            folder / image.file_name, size, bands=options.bands, bit_depth=options.bit_depth
        )

    return open_image


def _merged(
    parts: list[Detections], cuts: list[BoolArray], options: PredictOptions, recipe: Recipe
) -> Detections:
    """Merge an image's detections; proposals keep all, their overlaps are the point of them."""
    found = Detections.concatenate(parts, recipe.boxes)
    parts.clear()  # of a large image they are much of the memory
    if options.proposals is not None:
        return found
    cut = np.concatenate(cuts) if cuts and options.merge == "border" else None
    return merge_patches(found, options.merge_nms, options.merge, cut)
