"""One size for all images of some training steps (Ge et al., YOLOX, 2021: multi-scale training).

On the batch's device, after the images have become numbers: what is drawn follows from seed and
step, so that all processes draw the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sodkit.data.batches import Batch, Target
from sodkit.data.samples.normalise import normalised
from sodkit.models.kernels.constants import constant
from sodkit.models.parts import rotated_coders
from sodkit.settings import Input, Recipe

_STREAM = 0x51DE
"""Keeps these draws apart from those of other things that follow from seed and number."""


def prepared(batch: Batch, recipe: Recipe, step: int) -> Batch:
    """Return a batch of bytes as detectors take it in a step: as numbers, in the step's size."""
    return resized(normalised(batch, recipe.input), recipe.input, recipe.seed, step)


def side_at(settings: Input, seed: int, step: int) -> int | None:
    """Return what the side of a full input is in a step, None: as it is."""
    sizes = settings.augment.sizes
    if sizes is None or step < sizes.every:
        return None
    rng = np.random.default_rng((seed, _STREAM, step // sizes.every))
    least, most = sizes.sides
    return least + sizes.step * int(rng.integers(0, (most - least) // sizes.step + 1))


def resized(batch: Batch, settings: Input, seed: int, step: int) -> Batch:
    """Return the batch in the size that is drawn for its step.

    Args:
        batch: normalised images.
        settings: sizes, and what a full input is.
        seed: of the run.
        step: of the run, from 0 on.
    """
    side = side_at(settings, seed, step)
    if side is None or side == settings.side:
        return batch
    before, factor = batch.padded, side / settings.side
    height, width = (max(1, round(own * factor)) for own in before)
    images = F.interpolate(batch.images, (height, width), mode="bilinear", align_corners=False)
    x, y = width / before[1], height / before[0]
    smaller = replace(
        batch,
        images=images.contiguous(memory_format=torch.channels_last),
        sizes=tuple((max(1, round(h * y)), max(1, round(w * x))) for h, w in batch.sizes),
        scales=tuple((own_x * x, own_y * y) for own_x, own_y in batch.scales),
        targets=tuple(_scaled(target, x, y) for target in batch.targets),
    )
    rows, columns = (-(-own // settings.pad_to) * settings.pad_to for own in (height, width))
    return smaller.padded_to(rows, columns)


def _scaled(target: Target, x: float, y: float) -> Target:
    """Return a target in an image that was resized by factors x and y."""
    return replace(
        target,
        boxes=_scaled_boxes(target.boxes, x, y),
        ignore_boxes=_scaled_boxes(target.ignore_boxes, x, y),
        obb=None if target.obb is None else rotated_coders.scale(target.obb, (x, y)),
    )


def _scaled_boxes(boxes: Tensor, x: float, y: float) -> Tensor:
    """Return boxes (N, 4) xyxy or (N, 5) oriented in an image that was resized."""
    if boxes.shape[1] == 5:
        return rotated_coders.scale(boxes, (x, y))
    return boxes * constant([x, y, x, y], boxes)
