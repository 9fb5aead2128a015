"""Non-maximum suppression of oriented boxes within classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sodkit.geometry.nms import nms_rotated
from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.nonzero import nonzero_each, rows_each
from sodkit.models.kernels.rotated_iou import rotated_intersection
from sodkit.models.parts.rotated_coders import enclosing

TABLES = 2**8
"""Blocks of the tables of all pairs that are held at once: 256 MB."""

ROUNDS = 32
"""Of the greedy choice between two looks at whether it is done."""


def nms_rotated_each(images: Sequence[Candidates], threshold: float, limit: int) -> list[Tensor]:
    """Return the rows of the ``limit`` best oriented boxes that are kept of each image, best first.

    On the CPU in a time linear in the boxes. A device is waited for three times, however many
    images, unless the boxes of an image are thousands: see ``nms_rotated_together``.
    """
    if images and images[0].boxes.device.type != "cpu":
        return nms_rotated_together(images, threshold, limit)
    kept = []
    for one in images:
        rows = torch.nonzero(one.usable)[:, 0]
        keep = grouped_nms_rotated(one.boxes[rows], one.scores[rows], one.groups[rows], threshold)
        kept.append(rows[keep[:limit]])
    return kept


def grouped_nms_rotated(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Suppress oriented boxes (N, 5) of a group by their exact rotated IoU.

    Args and returns as of ``kernels.grouped_nms``.
    """
    if boxes.device.type != "cpu":
        every = Candidates(boxes, scores, groups, torch.ones_like(scores, dtype=torch.bool))
        return nms_rotated_together([every], threshold, len(boxes))[0]
    columns = [x.detach().cpu().numpy() for x in (boxes.double(), scores.double(), groups)]
    return torch.from_numpy(nms_rotated(columns[0], columns[1], threshold, columns[2])).to(groups)


def nms_rotated_together(
    images: Sequence[Candidates], threshold: float, limit: int
) -> list[Tensor]:
    """Do what ``nms_rotated_each`` does as on a device.

    All pairs of an image that may overlap are clipped; which boxes are kept follows from the pairs
    above the threshold.
    """
    orders = [one.scores.argsort(descending=True, stable=True) for one in images]
    ordered = list(zip(images, orders, strict=True))
    boxes = torch.cat([one.boxes[order] for one, order in ordered]).double()
    groups = torch.cat([one.groups[order] for one, order in ordered])
    usable = torch.cat([one.usable[order] for one, order in ordered])
    counts = [len(order) for order in orders]
    pairs = [groups.new_zeros(0, 2), *_near(boxes, groups, usable, counts)]
    better, other = torch.cat(pairs).unbind(1)
    inter = rotated_intersection(boxes[better], boxes[other])
    areas = boxes[:, 2] * boxes[:, 3]
    total = areas[better] + areas[other]
    above = (inter > 0) & (inter / torch.maximum(total - inter, inter) > threshold)
    kept = torch.split(chosen(usable, better, other, above), counts)
    best = rows_each([mask & (mask.cumsum(0) <= limit) for mask in kept])
    return [order[rows] for order, rows in zip(orders, best, strict=True)]


def _near(boxes: Tensor, groups: Tensor, usable: Tensor, counts: Sequence[int]) -> Iterator[Tensor]:
    """Yield pairs (P, 2) of a better and a worse box of a group of an image that may overlap.

    Args:
        boxes: (N, 5) image by image, each image's best first.
        groups: (N,) likewise.
        usable: (N,) likewise.
        counts: boxes of each image.
    """
    around = enclosing(boxes)
    number = torch.arange(len(boxes), device=boxes.device)
    parts, first = [], 0
    for count in counts:
        image = slice(first, first + count)
        cut = blocks(count, count)
        parts += [(slice(first + one.start, first + one.stop), image) for one in cut]
        first += count
    for start in range(0, len(parts), TABLES):
        some = parts[start : start + TABLES]
        tables = [
            (number[rows, None] < number[image])
            & (groups[rows, None] == groups[image])
            & (usable[rows, None] & usable[image])
            & (around[rows, None, :2] < around[image, 2:]).all(2)
            & (around[image, :2] < around[rows, None, 2:]).all(2)
            for rows, image in some
        ]
        for (part, whole), found in zip(some, nonzero_each(tables), strict=True):
            yield torch.stack([found[:, 0] + part.start, found[:, 1] + whole.start], 1)


def chosen(usable: Tensor, better: Tensor, other: Tensor, above: Tensor) -> Tensor:
    """Return which boxes (N,) the greedy choice keeps, as a device can find out by itself.

    A box is kept if none that is kept suppresses it. Beginning with all boxes, every round applies
    this to the boxes that the round before left: after n rounds all are right that are at the end
    of a chain of fewer than n suppressions. When a round changes nothing, all are: only one choice
    agrees with itself, as suppression goes from better to worse boxes.

    The host looks after ``ROUNDS`` rounds, then after twice as many: chains are short.

    Args:
        usable: (N,) bool: others are not kept.
        better: (P,) a box.
        other: (P,) a worse one.
        above: (P,) bool: they overlap too much.
    """
    kept, rounds = usable, ROUNDS
    while True:
        before = kept
        for _ in range(rounds):
            before = kept
            blows = (kept[better] & above).int()
            hit = torch.zeros_like(usable, dtype=torch.int32).index_add(0, other, blows)
            kept = usable & (hit == 0)
        if bool((kept == before).all()):
            return kept
        rounds *= 2
