"""From scored boxes to a patch's detections: NMS, limit, and back to the patch's pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.data.batches import PatchDetections
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.grouped_nms import grouped_nms
from sodkit.models.parts import coders, rotated_coders
from sodkit.models.parts.rotated_nms import grouped_nms_rotated
from sodkit.settings.base import Beyond
from sodkit.settings.recipe import Keep


def thin(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    size: tuple[int, int],
    keep: Keep,
    outside: Beyond = "drop",
) -> tuple[Tensor, Tensor, Tensor]:
    """Suppress boxes of a class that overlap a better one; keep the best of the patch.

    Args:
        boxes: (N, 4) xyxy, which are clipped to the image, or (N, 5) oriented, which stay whole;
            px of the network's input.
        scores: (N,), all above ``keep.score``.
        labels: (N,) int64.
        size: (height, width) of the image without its padding.
        keep: NMS and limit.
        outside: what becomes of oriented boxes whose centre is not in the image.

    Returns:
        boxes, scores, labels of those kept, best first.
    """
    if boxes.shape[1] == 5:
        if outside == "clamp":
            boxes = rotated_coders.clamp_centres(boxes, size)
        sound = boxes.isfinite().all(1)
        if outside == "drop":
            sound = sound & rotated_coders.centred_inside(boxes, size)
        inside = torch.nonzero(sound)[:, 0]
        boxes, scores, labels = boxes[inside], scores[inside], labels[inside]
        rows = grouped_nms_rotated(boxes, scores, labels, keep.nms)
    else:
        boxes = coders.clip(boxes, size)
        rows = grouped_nms(boxes, scores, labels, keep.nms)
    rows = rows[: keep.max_per_patch]
    return boxes[rows], scores[rows], labels[rows]


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
