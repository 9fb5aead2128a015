"""Which anchor learns which object, by a threshold that the object's anchors set themselves.

Adaptive training sample selection (Zhang et al., ATSS, CVPR 2020, Algorithm 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.geometry.touching import Runs
from sodkit.models.kernels.blocks import blocks
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.box_iou import paired_iou
from sodkit.models.parts.coders import centre_and_size
from sodkit.models.parts.ignored import inside
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.points import distances
from sodkit.models.parts.ranking import place_in_group
from sodkit.models.parts.rotated_coders import upright

_FEW = 512
"""Points of a level with fewer are all compared: that costs next to nothing."""

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
    at, middle = (centre_and_size(b)[0] for b in (anchors, boxes))
    found, first = [], 0
    for size in levels:
        level = slice(first, first + size)
        found.append(_nearest(at[level], out[level], middle, min(count, size)) + first)
        first += size
    candidate = torch.cat(found, 1)
    return candidate, ~out[candidate]


def _nearest(at: Tensor, out: Tensor, middle: Tensor, count: int) -> Tensor:
    """Return the points (G, count) nearest to each object, of equally near ones the first.

    On the CPU those about the object are looked at first, and all only if they do not suffice.

    Args:
        at: (N, 2) of a level.
        out: (N,) bool: these are farther than all others.
        middle: (G, 2) of the objects.
        count: of points, N at most.
    """
    if at.device.type != "cpu" or len(at) < _FEW:
        return nearest_of_all(at, out, middle, count)
    found, sure = _nearest_about(at, out, middle, count)
    (rest,) = torch.nonzero(~sure, as_tuple=True)
    found[rest] = nearest_of_all(at, out, middle[rest], count)
    return found


def nearest_of_all(at: Tensor, out: Tensor, middle: Tensor, count: int) -> Tensor:
    """Do what ``_nearest`` does as on a device: every point is compared with every object."""
    (x, y), (own_x, own_y) = at.unbind(1), middle.unbind(1)
    nearest = torch.zeros(len(middle), count, dtype=torch.int64, device=at.device)
    for part in blocks(len(middle), len(at)):
        apart = (own_x[part, None] - x) ** 2 + (own_y[part, None] - y) ** 2
        nearest[part] = _smallest(apart.masked_fill(out, torch.inf), count)
    return nearest


def _nearest_about(at: Tensor, out: Tensor, middle: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the points (G, count) nearest to each object among those about it.

    And (G,) bool: they are the nearest of all, as what is not looked at is farther.
    """
    extent = at.amax(0) - at.amin(0)
    reach = float((extent.prod() / len(at)).sqrt()) * (count**0.5 / 2 + 2)
    usable = at.masked_fill(out[:, None], torch.nan)  # overlaps nothing
    runs = Runs.of(torch.cat([usable, usable], 1).double().numpy())
    around = torch.cat([middle - reach, middle + reach], 1)
    point, own = map(torch.from_numpy, runs.pairs(around.double().numpy()))
    shift = middle[own] - at[point]
    apart = shift[:, 0] ** 2 + shift[:, 1] ** 2
    place = place_in_group(own, apart)
    found = torch.zeros(len(middle), count, dtype=torch.int64)
    sure = torch.zeros(len(middle), dtype=torch.bool)
    near, last = place < count, place == count - 1
    found[own[near], place[near]] = point[near]
    sure[own[last]] = apart[last] < 0.99 * reach**2  # less than exact: distances are rounded
    return found, sure


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
