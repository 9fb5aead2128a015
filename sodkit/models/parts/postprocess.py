"""From scored boxes to a patch's detections: NMS, limit, and back to the patch's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.grouped_nms import Candidates, nms_each
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts import coders, rotated_coders
from sodkit.models.parts.rotated_nms import nms_rotated_each
from sodkit.settings.base import Beyond
from sodkit.settings.recipe import Keep


def detections(images: Sequence[Candidates], batch: Batch, keep: Keep) -> list[PatchDetections]:
    """Return the detections of each image, best first, in pixels of its patch before resizing.

    Boxes of a class that overlap a better one are suppressed. A device is waited for as often for
    many images as for one.

    Args:
        images: the boxes of each image as they compare, see ``placed``; the groups are labels.
        batch: the images.
        keep: NMS and limit.
    """
    oriented = any(one.boxes.shape[1] == 5 for one in images)
    suppress = nms_rotated_each if oriented else nms_each
    kept = suppress(images, keep.nms, keep.max_per_patch)
    return [
        in_patch(one.boxes[rows], one.scores[rows], one.groups[rows], scale)
        for one, rows, scale in zip(images, kept, batch.scales, strict=True)
    ]


def all_usable(images: Sequence[Candidates], batch: Batch) -> list[PatchDetections]:
    """Return the usable boxes of each image without suppressing any, in their order.

    For detectors that have no NMS. A device is waited for once.

    Args:
        images: boxes with their labels as groups, best first and no more than are kept.
        batch: the images.
    """
    rows = rows_each([one.usable for one in images])
    return [
        in_patch(one.boxes[kept], one.scores[kept], one.groups[kept], scale)
        for one, kept, scale in zip(images, rows, batch.scales, strict=True)
    ]


def placed(
    images: Sequence[Candidates], sizes: Sequence[tuple[int, int]], outside: Beyond = "drop"
) -> list[Candidates]:
    """Return boxes as far as they lie in their images.

    Args:
        images: boxes (N, 4) xyxy, which are clipped to the image, or (N, 5) oriented, which stay
            whole; px of the network's input.
        sizes: (height, width) of each image without its padding.
        outside: what happens to oriented boxes whose centre is not in the image.
    """
    oriented = any(one.boxes.shape[1] == 5 for one in images)
    place = partial(_whole, outside=outside) if oriented else _clipped
    return [place(one, size) for one, size in zip(images, sizes, strict=True)]


def thin(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    size: tuple[int, int],
    keep: Keep,
) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress boxes (N, 4) of a class that overlap a better one; keep the best of an image.

    Returns:
        boxes clipped to the image of ``size`` (height, width), scores, labels, best first.
    """
    every = Candidates(boxes, scores, labels, torch.ones_like(scores, dtype=torch.bool))
    (one,) = placed([every], [size])
    (rows,) = nms_each([one], keep.nms, keep.max_per_patch)
    return one.boxes[rows], one.scores[rows], one.groups[rows]


def _clipped(image: Candidates, size: tuple[int, int]) -> Candidates:
    return replace(image, boxes=coders.clip(image.boxes, size))


def _whole(image: Candidates, size: tuple[int, int], outside: Beyond) -> Candidates:
    boxes = image.boxes
    if outside == "clamp":
        boxes = rotated_coders.clamp_centres(boxes, size)
    usable = image.usable & boxes.isfinite().all(1)
    if outside == "drop":
        usable = usable & rotated_coders.centred_inside(boxes, size)
    return replace(image, boxes=boxes, usable=usable)


def in_patch(
    boxes: Tensor, scores: Tensor, labels: Tensor, scale: tuple[float, float]
) -> PatchDetections:
    """Bring boxes (N, 4 or 5) back to the size before resizing by ``scale`` (x, y)."""
    if boxes.shape[1] == 4:
        return PatchDetections(boxes / constant([*scale, *scale], boxes), scores, labels)
    obb = rotated_coders.scale(boxes, (1 / scale[0], 1 / scale[1]))
    return PatchDetections(rotated_coders.enclosing(obb), scores, labels, obb)


def unlabelled(
    boxes: Tensor, scores: Tensor, scale: tuple[float, float], *, oriented: bool
) -> PatchDetections:
    """Return proposals in the patch's pixels, all with label 0; oriented ones if ``oriented``."""
    if oriented and boxes.shape[1] == 4:
        boxes = rotated_coders.upright(boxes)
    return in_patch(boxes, scores, torch.zeros_like(scores, dtype=torch.int64), scale)
