"""Non-maximum suppression within groups: levels of the pyramid, classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from sodkit.models.kernels.nonzero import rows_each

TOGETHER = 2**15
"""Boxes that are compared at once on a device, unless one image has more: 128 MB of bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes of one image that suppress each other within groups.

    Attributes:
        boxes: (N, 4) xyxy, or (N, 5) oriented, float32.
        scores: (N,).
        groups: (N,) integers >= 0: levels, or labels.
        usable: (N,) bool: others suppress nothing and are not kept.
    """

    boxes: Tensor
    scores: Tensor
    groups: Tensor
    usable: Tensor


def nms_each(images: Sequence[Candidates], threshold: float, limit: int) -> list[Tensor]:
    """Return the rows of the ``limit`` best boxes that are kept of each image, best first.

    Boxes are upright. A device is waited for twice, however many images: see ``nms_together``.
    """
    if images and images[0].boxes.device.type != "cpu":
        return nms_together(images, threshold, limit)
    kept = []
    for one in images:
        rows = torch.nonzero(one.usable)[:, 0]
        keep = grouped_nms(one.boxes[rows], one.scores[rows], one.groups[rows], threshold)
        kept.append(rows[keep[:limit]])
    return kept


def nms_together(images: Sequence[Candidates], threshold: float, limit: int) -> list[Tensor]:
    """Do what ``nms_each`` does by one suppression for as many images as ``TOGETHER`` allows."""
    if len(images) > 1 and sum(len(one.boxes) for one in images) > TOGETHER:
        half = len(images) // 2
        parts = (images[:half], images[half:])
        return [rows for part in parts for rows in nms_together(part, threshold, limit)]
    usable = torch.cat([one.usable for one in images])
    scores = torch.cat([one.scores for one in images])
    groups = torch.cat([one.groups for one in images])
    # a box without area has no IoU with any other one
    boxes = torch.cat([one.boxes for one in images]).where(usable[:, None], 0.0)
    image = torch.cat([torch.full_like(one.groups, i) for i, one in enumerate(images)])
    apart = image * (groups.amax() + 1) + groups if len(groups) else groups
    kept = nms_apart(boxes, scores, apart, threshold)
    of_image = torch.arange(len(images), device=kept.device)[:, None] == image[kept]
    mine = of_image & usable[kept]
    best = mine & (mine.cumsum(1) <= limit)
    first, found = 0, []
    for one, rows in zip(images, rows_each(list(best)), strict=True):
        found.append(kept[rows] - first)
        first += len(one.boxes)
    return found


def grouped_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Suppress boxes that overlap a better one of their group by an IoU above ``threshold``.

    On the CPU group by group; on other devices in one call, with one synchronisation.

    Args:
        boxes: (N, 4) xyxy, float32.
        scores: (N,).
        groups: (N,) integers.
        threshold: IoU in [0, 1].

    Returns:
        indices of the boxes kept, best first.
    """
    if boxes.device.type != "cpu":
        return nms_apart(boxes, scores, groups, threshold)
    kept = []
    for group in groups.unique():  # type: ignore[no-untyped-call]
        rows = torch.nonzero(groups == group)[:, 0]
        kept.append(rows[nms(boxes[rows], scores[rows], threshold)])
    if not kept:
        return groups.new_zeros(0)
    keep = torch.cat(kept)
    return keep[scores[keep].argsort(descending=True, stable=True)]


def nms_apart(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Do what ``grouped_nms`` does in one call of ``nms``.

    Groups are shifted apart in float64: float32 would change the IoUs of small boxes. The step
    between them is a power of two, so that shifting rounds nothing: float64 has 29 bits more than
    the coordinates.
    """
    if len(boxes) == 0:
        return groups.new_zeros(0)
    order = groups.argsort(stable=True)  # among equal scores the lower group is first
    exact, group = boxes[order].double(), groups[order]
    step = torch.exp2(torch.log2(exact.abs().amax().clamp(min=1)).ceil() + 1)
    return order[nms(exact + (group * step)[:, None], scores[order].double(), threshold)]
