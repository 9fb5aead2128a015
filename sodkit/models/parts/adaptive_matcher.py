"""Which anchor learns which object, by a threshold that the object's anchors set themselves.

Adaptive training sample selection (Zhang et al., ATSS, CVPR 2020, Algorithm 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.models.kernels.blocks import blocks
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.box_iou import paired_iou
from sodkit.models.parts.coders import centre_and_size
from sodkit.models.parts.ignored import inside
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.points import distances
from sodkit.models.parts.rotated_coders import upright

_MARGIN = 0.01
"""px: a positive anchor's centre is inside its object by more than this."""


def match_adaptive(
    anchors: Tensor,
    levels: Sequence[int],
    boxes: Tensor,
    ignore_boxes: Tensor,
    count: int,
    absent: Tensor,
    oriented: Tensor | None = None,
) -> Tensor:
    """Match anchors to objects.

    The candidates of an object are the anchors of each level nearest to it. Positive are those
    whose IoU reaches the mean plus the standard deviation of the candidates' IoUs, and whose centre
    lies in the object. An anchor that several objects want has the one that it overlaps best, of
    equal ones the first. An object may stay without an anchor.

    Args:
        anchors: (N, 4) xyxy of all levels, one after the other.
        levels: number of anchors of each level.
        boxes: (G, 4) xyxy, sides > 0.
        ignore_boxes: (I, 4) xyxy, or (I, 5) oriented: anchors with more than half of their area
            in them are ``IGNORED``.
        count: candidates of a level.
        absent: (N,) bool: these are ``IGNORED``, too. Neither is a candidate.
        oriented: (G, 5) oriented objects that ``boxes`` enclose: the IoUs are theirs; None: the
            objects are upright.

    Returns:
        (N,) int64 index of an object, ``NEGATIVE`` or ``IGNORED``.
    """
    out = absent | inside(anchors, ignore_boxes)
    candidate, usable = _candidates(anchors, levels, boxes, count, out)
    each = boxes[:, None].expand(-1, candidate.shape[1], -1).flatten(0, 1)
    chosen = anchors[candidate.flatten()]
    if oriented is None:
        iou = paired_iou(each, chosen)
    else:
        turned = oriented[:, None].expand(-1, candidate.shape[1], -1).flatten(0, 1)
        iou = paired_iou(turned, upright(chosen))
    iou = iou.reshape(candidate.shape)
    inner = distances(centre_and_size(chosen)[0], each).amin(1) > _MARGIN
    positive = usable & (iou >= _threshold(iou, usable)[:, None]) & inner.reshape(iou.shape)
    gt = _best(candidate.flatten(), torch.where(positive, iou, -1.0), len(anchors))
    return gt.masked_fill(out, IGNORED)


def _candidates(
    anchors: Tensor, levels: Sequence[int], boxes: Tensor, count: int, out: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the anchors (G, K) nearest to each object, and which of them count."""
    (x, y), (box_x, box_y) = (centre_and_size(b)[0].unbind(1) for b in (anchors, boxes))
    found, first = [], 0
    for size in levels:
        level = slice(first, first + size)
        nearest = [boxes.new_zeros(0, min(count, size), dtype=torch.int64)]
        for part in blocks(len(boxes), size):
            apart = (box_x[part, None] - x[level]) ** 2 + (box_y[part, None] - y[level]) ** 2
            apart = apart.masked_fill(out[level], torch.inf)
            nearest.append(_smallest(apart, min(count, size)) + first)
        found.append(torch.cat(nearest))
        first += size
    candidate = torch.cat(found, 1)
    return candidate, ~out[candidate]


def _smallest(values: Tensor, count: int) -> Tensor:
    """Return the columns (R, count) of the smallest values >= 0 of each row, of ties the first.

    Which of equal values ``topk`` takes depends on the device. So the place is made a part of the
    value: the bits of a positive float32, read as an integer, have the same order.
    """
    bits = values.view(torch.int32).long() << 32
    place = torch.arange(values.shape[1], device=values.device)
    return (bits | place).topk(count, 1, largest=False).indices


def _threshold(iou: Tensor, usable: Tensor) -> Tensor:
    """Return mean plus (unbiased) standard deviation (G,) of the IoUs (G, K) that count."""
    number = usable.sum(1)
    mean = (iou * usable).sum(1) / number.clamp(min=1)
    squares = ((iou - mean[:, None]) ** 2 * usable).sum(1)
    return mean + (squares / (number - 1).clamp(min=1)).sqrt()


def _best(candidate: Tensor, iou: Tensor, count: int) -> Tensor:
    """Return for each of ``count`` anchors the object that overlaps it best, ``NEGATIVE`` if none.

    Args:
        candidate: (G * K,) the anchors that objects want.
        iou: (G, K) with them, below 0 where the object does not want the anchor after all.
        count: number of anchors.
    """
    objects = len(iou)
    number = torch.arange(objects, device=iou.device)[:, None].expand_as(iou).flatten()
    iou = iou.flatten()
    best = iou.new_zeros(count).scatter_reduce(0, candidate, iou, "amax")
    wins = (iou >= 0) & (iou == best[candidate])
    first = torch.full_like(best, objects, dtype=torch.int64)
    first = first.scatter_reduce(0, candidate, torch.where(wins, number, objects), "amin")
    return torch.where(first < objects, first, NEGATIVE)
