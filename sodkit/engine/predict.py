"""Prediction on whole images: windows in batches through the detector, merged per image.

Images stream: threads read and resize the windows of the next batches while the detector works, and
an image is merged as soon as its last window is done. So memory does not grow with the number of
images, and one that is read by windows is never there as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from functools import partial
from itertools import chain, islice, tee
from pathlib import Path
from typing import cast

import numpy as np
import torch

from sodkit.arrays import BoolArray
from sodkit.data.images.given import ImageLike, opened
from sodkit.data.images.pixel_source import OpenImage, PixelSource, file_source
from sodkit.data.records import Detections, ImageRecord
from sodkit.engine.predict_options import PredictOptions
from sodkit.engine.window_detection import Found, detect, detect_batches
from sodkit.engine.window_memory import check_memory
from sodkit.engine.window_plan import Batch, Window, window_batches
from sodkit.engine.world import ALONE, World
from sodkit.errors import DataError, UsageError
from sodkit.files import StrPath
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe
from sodkit.shares import share
from sodkit.tiling.gathered import Gathered, ImageResult, merge_gathered
from sodkit.tiling.merge import cut_by_border, merge_patches

_ROUND = 32
"""Batches of a process between two meetings of all processes."""


def predict_images(
    detector: DetectorModule,
    recipe: Recipe,
    images: Iterable[ImageRecord] | Iterable[ImageLike],
    folder: StrPath | None = None,
    *,
    device: torch.device | None = None,
    options: PredictOptions | None = None,
    classes: int | None = None,
    on_bad: Callable[[ImageRecord, DataError], None] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    world: World = ALONE,
) -> Detections:
    """Detect objects in whole images.

    Args:
        detector: in evaluation mode, on ``device``.
        recipe: its recipe: resizing and normalisation.
        images: what to look at: records, whose ``file_name`` starts at ``folder`` and whose sizes
            are checked; or arrays (H, W, 3) RGB and paths, mixed, whose ids are their positions
            from 0 on (``data/images/given.py`` says what arrays may be). Of these a generator is
            read ``options.batch`` images at a time.
        folder: where file names and paths start; None: the current one.
        device: where to compute; None: where the detector is.
        options: windows and merging; None: the recipe's.
        classes: how many there are; labels beyond are an error; None: not checked.
        on_bad: called with an image that cannot be read and why; it is left out. None: an error.
        progress: called with (images done, images in all), 0 in all where that is not known.
        world: the processes that divide the windows; each one calls this.

    Returns:
        detections in pixels of the whole images, image by image in the given order; none in other
        processes than the first one.

    Raises:
        DataError: an image that cannot be read or has another size than stated.
        UsageError: ``images`` is a single one, or holds what is no image.
        ModelError: the detector returns what cannot be: NaN, wrong shapes, boxes elsewhere.
    """
    folder, options = Path(folder or ""), options or PredictOptions.of(recipe)
    device = device or next(detector.parameters()).device
    each = partial(
        predict_each, detector, recipe, device=device, options=options, classes=classes, world=world
    )
    total = len(images) if isinstance(images, Sized) else 0
    results: list[Detections] = []
    for done, (image, found) in enumerate(_each_given(each, images, folder, options), 1):
        if not isinstance(found, DataError):
            results.append(found)
        elif on_bad is None:
            raise found
        else:
            on_bad(image, found)
        progress(done, total)
    return Detections.concatenate(results, recipe.boxes)


def _each_given(
    each: Callable[..., Iterator[tuple[ImageRecord, Found]]],
    images: Iterable[ImageRecord] | Iterable[ImageLike],
    folder: Path,
    options: PredictOptions,
) -> Iterator[tuple[ImageRecord, Found]]:
    """Yield what ``predict_each`` yields of records, or of images that are given otherwise."""
    if isinstance(images, np.ndarray | str | os.PathLike):
        raise UsageError("a single image was given", hint="give a list: [image]")
    stream = iter(images)
    first = list(islice(stream, 1))
    if first and isinstance(first[0], ImageRecord):
        yield from each([*first, *cast("Iterator[ImageRecord]", stream)], folder)
        return
    items = enumerate(cast("Iterator[ImageLike]", chain(first, stream)))
    while part := list(islice(items, options.batch)):
        records: list[ImageRecord] = []
        sources: dict[int, PixelSource] = {}
        for number, item in part:
            try:
                record, source = opened(
                    item, number, folder=folder, bands=options.bands, bit_depth=options.bit_depth
                )
            except DataError as error:
                name = f"image {number}" if isinstance(item, np.ndarray) else str(item)
                yield ImageRecord(number, name, 0, 0), error
                continue
            records.append(record)
            sources[number] = source
        yield from each(records, folder, open_image=partial(_source_of, sources))


def _source_of(sources: Mapping[int, PixelSource], image: ImageRecord) -> PixelSource:
    return sources[image.id]


def predict_each(
    detector: DetectorModule,
    recipe: Recipe,
    images: Sequence[ImageRecord],
    folder: StrPath,
    *,
    device: torch.device,
    options: PredictOptions | None = None,
    classes: int | None = None,
    first: int = 0,
    open_image: OpenImage | None = None,
    world: World = ALONE,
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
        world: the processes that divide the windows; each one goes through what this yields, which
            is nothing in other processes than the first one.

    Raises:
        ModelError: the detector returns what cannot be: NaN, wrong shapes, boxes elsewhere.
        SodkitError: a window is larger than the memory.
    """
    folder = Path(folder)
    options = options or PredictOptions.of(recipe)
    stream = predict_results(
        detector, recipe, images, open_image or files_in(folder, options),
        device=device, options=options, classes=classes, first=first, world=world,
    )  # fmt: skip
    for image, found in stream:
        yield image, found if isinstance(found, DataError) else found.whole()


def predict_results(
    detector: DetectorModule,
    recipe: Recipe,
    images: Sequence[ImageRecord],
    open_image: OpenImage,
    *,
    device: torch.device,
    options: PredictOptions,
    classes: int | None,
    first: int,
    world: World,
) -> Iterator[tuple[ImageRecord, ImageResult | DataError]]:
    """Yield each image and what is found in it, which can be taken in parts.

    The arguments are those of ``predict_each``, which says what is raised.
    """
    check_memory(images, options, recipe)
    run = partial(detect, detector, recipe, options, device, classes)
    plan = window_batches(images, options.size, options.stride, options.batch, first=first)

    def detected(batches: Iterable[Batch]) -> Iterator[tuple[Window, Found]]:
        return detect_batches(run, images, batches, options, recipe, open_image)

    for index, found in by_image(divided(plan, detected, world), images, options, recipe):
        if index >= first:
            yield images[index], found


def divided(
    plan: Iterable[Batch],
    detected: Callable[[Iterable[Batch]], Iterator[tuple[Window, Found]]],
    world: World,
) -> Iterator[tuple[Window, Found]]:
    """Yield what is found in the windows of a plan, in its order, in the first process.

    In each round a process has some batches that follow each other, so that few images are read by
    several of them. Then the first one gets what was found.

    Args:
        plan: the same in all processes.
        detected: detects in batches, in their order.
        world: the processes.
    """
    if world.size == 1:
        yield from detected(plan)
        return
    rounds, again = tee(_rounds(plan, world))
    mine = detected(chain.from_iterable(rounds))
    for batches in again:
        found = list(islice(mine, sum(map(len, batches))))
        for part in world.to_first(found):
            yield from part


def _rounds(plan: Iterable[Batch], world: World) -> Iterator[Sequence[Batch]]:
    """Yield this process's batches, round by round; some rounds may have none."""
    batches = iter(plan)
    while of_all := list(islice(batches, _ROUND * world.size)):
        rows = share(len(of_all), world.rank, world.size)
        yield of_all[rows.start : rows.stop]


def by_image(
    stream: Iterable[tuple[Window, Found]],
    images: Sequence[ImageRecord],
    options: PredictOptions,
    recipe: Recipe,
) -> Iterator[tuple[int, ImageResult | DataError]]:
    """Merge what is found in windows, in the order of the plan; yield each image's index, too.

    Args:
        stream: windows and what is found in each.
        images: that the windows are of.
        options: how to merge.
        recipe: the kind of boxes.
    """
    gathered = Gathered(recipe.boxes)
    cuts: list[BoolArray] = []
    error: DataError | None = None
    for window, found in stream:
        image = images[window.image]
        if isinstance(found, DataError):
            error = error or found
        else:
            gathered.add(found)
            cuts.append(_cut(found, window, image, options))
        if window.last:
            yield window.image, error or _kept(gathered, cuts, options, image.id)
            gathered, cuts, error = Gathered(recipe.boxes), [], None


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


def _kept(
    gathered: Gathered, cuts: list[BoolArray], options: PredictOptions, image_id: int
) -> ImageResult:
    """Merge an image's detections and leave out those below the least score of their class."""
    merged = _merged(gathered, cuts, options, image_id)
    return merged if options.class_scores is None else merged.of_scores(options.class_scores)


def _merged(
    gathered: Gathered, cuts: list[BoolArray], options: PredictOptions, image_id: int
) -> ImageResult:
    """Merge an image's detections; proposals keep all, their overlaps are the point of them."""
    everything = np.arange(len(gathered))
    if options.proposals is not None:
        return ImageResult(gathered, everything, image_id)
    if options.merge == "nms":
        return ImageResult(gathered, merge_gathered(gathered, options.merge_nms), image_id)
    cut = np.concatenate(cuts) if options.merge == "border" else None
    found = gathered.take(everything, image_id)
    merged = Gathered(gathered.kind)
    merged.add(merge_patches(found, options.merge_nms, options.merge, cut))
    return ImageResult(merged, np.arange(len(merged)), image_id)
