"""``--batch auto``: the largest batch that a GPU's memory holds, found by trying."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from sodkit.data.batches import Batch
from sodkit.data.samples.normalise import normalised
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.engine.build import new_detector
from sodkit.engine.freezing import freeze, set_training
from sodkit.engine.optimizer import make_optimizer, make_scaler
from sodkit.engine.train_step import Share, Trained, train_step
from sodkit.errors import SodkitError
from sodkit.settings import Recipe

SHARE = 0.85
"""Of the free memory that a step may take: batches differ, and memory gets holes."""

MOST = 1024
"""Images that are tried at most."""


def fitting_batch(recipe: Recipe, dataset: TrainingSet, classes: int, device: torch.device) -> int:
    """Return the number of images whose training step takes 85 % of a GPU's free memory at most.

    Steps are tried with copies of the image that has the most pixels and, of those, the most
    objects, at the largest scale. Their losses are not looked at.

    Args:
        recipe: the detector and its schedule.
        dataset: what is trained on.
        classes: number of classes.
        device: a CUDA device.

    Raises:
        SodkitError: not even one image fits.
    """
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    room = int(SHARE * (free + torch.cuda.memory_allocated(device)))
    found = largest(lambda count: _peak(recipe, dataset, classes, device, count), room)
    if found == 0:
        raise SodkitError(
            f"a training step with one image does not fit into the memory of {device}",
            hint="a smaller input.scale or smaller patches, or schedule.precision=bfloat16",
        )
    return found


def largest(peak: Callable[[int], int | None], room: int, most: int = MOST) -> int:
    """Return the largest count of images that fits, 0 if not even one does.

    Args:
        peak: from a count to the bytes that its step takes, growing with it; None: out of memory.
        room: bytes that a step may take.
        most: images at most.
    """

    def fits(count: int) -> bool:
        taken = peak(count)
        return taken is not None and taken <= room

    good, bad = 0, 1
    while bad <= most and fits(bad):
        good, bad = bad, 2 * bad
    bad = min(bad, most + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def largest_images(dataset: TrainingSet, recipe: Recipe, count: int) -> Batch:
    """Return copies of the most demanding image as a batch of bytes."""
    high, sizes = recipe.input.scale_range[1], recipe.input.augment.sizes
    if sizes is not None:
        high *= max(1.0, sizes.sides[1] / recipe.input.side)
    settings = recipe.input.model_copy(update={"scale_range": (high, high)})
    pixels = np.array([image.width * image.height for image in dataset.images])
    place = int(np.lexsort((dataset.object_counts, pixels))[-1])
    one = dataset.with_settings(settings).batch([(0, place)])
    return Batch(
        torch.cat([one.images] * count), one.sizes * count, one.scales * count,
        one.targets * count, one.image_ids * count,
    )  # fmt: skip


def _peak(
    recipe: Recipe, dataset: TrainingSet, classes: int, device: torch.device, count: int
) -> int | None:
    """Make a training step; return the most bytes that tensors took, None: out of memory."""
    torch.cuda.reset_peak_memory_stats(device)
    try:
        try_step(recipe, largest_images(dataset, recipe, count), classes, device)
        return torch.cuda.max_memory_allocated(device)
    except torch.OutOfMemoryError:
        return None
    finally:
        torch.cuda.empty_cache()


def try_step(recipe: Recipe, batch: Batch, classes: int, device: torch.device) -> None:
    """Make a training step with a detector of its own, which is given up."""
    detector = new_detector(recipe, classes, device, pretrained=False)
    freeze(detector, recipe.schedule.freeze)
    set_training(detector, recipe.schedule.freeze)
    scaler = make_scaler(recipe.schedule, device)
    optimizer = make_optimizer(detector, recipe.schedule)
    trained = Trained.of(detector, optimizer, scaler, recipe.schedule, recipe.seed)
    images = normalised(batch.to(device), recipe.input)
    train_step(trained, Share(images, 0, len(images.sizes)))
