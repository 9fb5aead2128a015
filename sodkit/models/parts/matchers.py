"""Which anchor or proposal learns which object: matching by IoU.

A match is an index of a ground-truth box, or ``NEGATIVE``, or ``IGNORED``. Whatever lies with more
than half of its area inside an ignore box is neither positive nor negative, in every matcher.
The (boxes x ground truth) overlaps are computed in blocks: memory stays bounded in crowds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sodkit.geometry.touching import Runs
from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts.best_left import NEGATIVE, give_best
from sodkit.models.parts.box_iou import area, every_iou
from sodkit.models.parts.coders import centre_and_size
from sodkit.models.parts.ignored import inside
from sodkit.settings.proposers import Region, Threshold

IGNORED = -2


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Columns over N anchors or proposals.

    Attributes:
        gt: (N,) int64 index of a ground-truth box, ``NEGATIVE`` or ``IGNORED``.
        iou: (N,) float32 best IoU with any ground-truth box, 0 where there are none.
    """

    gt: Tensor
    iou: Tensor


def dynamic_threshold(threshold: Threshold, sizes: Tensor) -> Tensor:
    """Return the IoU that makes an anchor positive in the coarse stage (paper Eq. 1).

    Args:
        threshold: its parameters; gamma 0 gives the fixed thresholds of Table 6.
        sizes: sqrt(w * h) of objects in px of the patch before resizing, > 0, any shape.
    """
    grown = threshold.base + threshold.gamma * torch.log2(sizes / threshold.reference)
    return grown.clamp(min=threshold.floor).clamp(max=threshold.cap)


def match_dynamic(
    anchors: Tensor,
    boxes: Tensor,
    ignore_boxes: Tensor,
    thresholds: Tensor,
    *,
    negative: float = 0.15,
    match_best: bool = False,
) -> Matches:
    """Match anchors of all levels to objects with a threshold each (paper 3.1).

    An anchor is positive for the object it overlaps best among those whose threshold it reaches.

    Args:
        anchors: (N, 4) xyxy.
        boxes: (G, 4) xyxy, sides > 0.
        ignore_boxes: (I, 4) xyxy, (I, 5) oriented, or (N,) bool, see ``inside``.
        thresholds: (G,) from ``dynamic_threshold``.
        negative: anchors whose best IoU is below are ``NEGATIVE`` (release: .15), those between
            it and the threshold ``IGNORED``; the coarse stage uses neither.
        match_best: an object that got no anchor takes the best one that is still free (objects
            below 3.6 px reach no threshold at all).
    """
    match, free = _by_threshold(anchors, boxes, ignore_boxes, thresholds, negative)
    if not match_best:
        return match
    ((gt, _),) = give_best(anchors, [boxes], [match.gt], [free])
    return Matches(gt, match.iou)


def positives_by_threshold(
    anchors: Tensor,
    boxes: Sequence[Tensor],
    ignore_boxes: Sequence[Tensor],
    thresholds: Sequence[Tensor],
    *,
    match_best: bool,
) -> list[tuple[Matches, Tensor]]:
    """Match as ``match_dynamic`` for several images, which wait for the device together.

    Returns:
        for each image the matches, and the rows (P,) of its positives, ascending.
    """
    images = zip(boxes, ignore_boxes, thresholds, strict=True)
    found = [_by_threshold(anchors, *image, negative=0.15) for image in images]
    matches = [match for match, _ in found]
    if not match_best:
        return with_positives(matches)
    given = give_best(anchors, boxes, [m.gt for m in matches], [free for _, free in found])
    return [(Matches(gt, m.iou), rows) for (gt, rows), m in zip(given, matches, strict=True)]


def with_positives(matches: Sequence[Matches]) -> list[tuple[Matches, Tensor]]:
    """Return the matches of each image with the rows (P,) of its positives, ascending."""
    return list(zip(matches, rows_each([match.gt >= 0 for match in matches]), strict=True))


def _by_threshold(
    anchors: Tensor, boxes: Tensor, ignore_boxes: Tensor, thresholds: Tensor, negative: float
) -> tuple[Matches, Tensor]:
    """Return the matches without ``match_best``, and (N,) bool: free, and not to be ignored."""
    ignored = inside(anchors, ignore_boxes)
    best = anchors.new_zeros(len(anchors))
    reached = anchors.new_zeros(len(anchors))
    gt = torch.full_like(best, NEGATIVE, dtype=torch.int64)
    for start, near, iou in _blocks(anchors, boxes):
        best[near] = torch.maximum(best[near], iou.amax(0))
        enough = iou * (iou >= thresholds[start : start + len(iou), None])
        top, row = enough.max(0)
        better = top > reached[near]
        gt[near] = torch.where(better, row + start, gt[near])
        reached[near] = torch.where(better, top, reached[near])
    gt = gt.masked_fill((gt < 0) & (best >= negative), IGNORED).masked_fill(ignored, IGNORED)
    return Matches(gt, best), (gt < 0) & ~ignored


def match_region(
    anchors: Tensor,
    boxes: Tensor,
    ignore_boxes: Tensor,
    region: Region,
    scale: float,
    strides: Sequence[int],
    *,
    beside: Literal["all", "negatives"] = "all",
) -> Matches:
    """Match anchors to objects by where their centres lie (Cascade RPN, its first stage).

    An object belongs to the level whose anchors are nearest in size. There, locations in the inner
    region of its box are positive and those in the outer region ignored, as they also are on the
    two levels beside it; of several objects the last one decides. Regions are boxes shrunk about
    their centre, in cells, rounded: an object has one location at least.

    Args:
        anchors: (N, 4) xyxy, square, one a location, of all levels.
        boxes: (G, 4) xyxy, sides > 0.
        ignore_boxes: (I, 4) xyxy, (I, 5) oriented, or (N,) bool, see ``inside``.
        region: the shares of a box's sides that make the two regions.
        scale: the anchors' sides in strides.
        strides: of the levels, each twice the one before.
        beside: what is ignored in the outer region on the levels beside an object's: all
            (Cascade RPN), or what no other object claims (GA-RPN).
    """
    ignored = inside(anchors, ignore_boxes)
    best = anchors.new_zeros(len(anchors))
    last = torch.full_like(best, NEGATIVE, dtype=torch.int64)
    positive, near_by = last.clone(), torch.zeros_like(ignored)
    centre, size = centre_and_size(anchors)
    stride = size[:, :1] / scale
    level = torch.log2(stride[:, 0] / strides[0]).round()
    cell = (centre / stride).round()
    reach = torch.maximum(size / 2, stride)  # rounding may add half a cell to a region
    side = area(boxes).sqrt()
    own = torch.log2(side / (scale * strides[0])).add(0.5).floor().clamp(0, len(strides) - 1)
    for start, near, iou in _blocks(anchors, boxes, torch.cat([centre - reach, centre + reach], 1)):
        best[near] = torch.maximum(best[near], iou.amax(0))
        part = slice(start, start + len(iou))
        distance = (own[part, None] - level[near]).abs()
        inner = _in_region(cell[near], stride[near, 0], boxes[part], region.positive)
        outer = _in_region(cell[near], stride[near, 0], boxes[part], region.ignored)
        inner &= distance == 0
        number = torch.arange(start, start + len(iou), device=boxes.device)[:, None]
        claimed = torch.where(inner | (outer & (distance == 0)), number, NEGATIVE).amax(0)
        last[near] = torch.maximum(last[near], claimed)
        held = torch.where(inner, number, NEGATIVE).amax(0)
        positive[near] = torch.maximum(positive[near], held)
        near_by[near] |= (outer & (distance == 1)).any(0)
    gt = torch.where(last == positive, positive, IGNORED)
    if beside == "negatives":
        near_by &= gt == NEGATIVE
    return Matches(gt.masked_fill(near_by | ignored, IGNORED), best)


def _in_region(cell: Tensor, stride: Tensor, boxes: Tensor, share: float) -> Tensor:
    """Return (k, N) bool: the location lies in the box shrunk to ``share`` of its sides."""
    inside = torch.ones(len(boxes), len(cell), dtype=torch.bool, device=boxes.device)
    outer = (1 - share) / 2  # weights of the two sides, in the release's order: halves are common
    for axis in (0, 1):
        low, high = boxes[:, axis, None] / stride, boxes[:, axis + 2, None] / stride
        inside &= cell[:, axis] >= ((1 - outer) * low + outer * high).round()
        inside &= cell[:, axis] <= (outer * low + (1 - outer) * high).round()
    return inside


def match_iou(
    boxes: Tensor,
    gt_boxes: Tensor,
    ignore_boxes: Tensor,
    *,
    positive: float,
    negative: float,
    low_quality: float | None = None,
    claim_apart: bool = False,
    within: tuple[int, int] | None = None,
    shapes: Tensor | None = None,
) -> Matches:
    """Match anchors or proposals by their best IoU (Faster R-CNN).

    Args:
        boxes: (N, 4) xyxy anchors or proposals.
        gt_boxes: (G, 4) xyxy.
        ignore_boxes: (I, 4) xyxy, (I, 5) oriented, or (N,) bool, see ``inside``.
        positive: least IoU of a positive.
        negative: boxes whose best IoU is below are ``NEGATIVE``; between the two ``IGNORED``.
        low_quality: an object also takes the boxes that overlap it best, from this IoU on (None:
            it does not); of several such objects the last one has the box (release).
        claim_apart: with ``low_quality`` 0 an object that no box overlaps takes all of them, as
            all overlap it best, by 0 (mmdetection); else it takes none.
        within: (height, width) of the image: boxes that leave it are ``IGNORED``.
        shapes: (N, M, 4) boxes: the best IoU of the M is taken for that of a box (GA-RPN).
    """
    ignored = inside(boxes, ignore_boxes)
    if within is not None:
        limits = constant([*within[::-1]], boxes)
        ignored = ignored | (boxes[:, :2] < 0).any(1) | (boxes[:, 2:] >= limits).any(1)
    best = boxes.new_zeros(len(boxes))
    index = torch.full_like(best, NEGATIVE, dtype=torch.int64)
    low = torch.full_like(index, NEGATIVE)
    for start, near, iou in _blocks(
        boxes if shapes is None else shapes, gt_boxes, every=claim_apart
    ):
        top, row = iou.max(0)
        better = top > best[near]
        index[near] = torch.where(better, row + start, index[near])
        best[near] = torch.where(better, top, best[near])
        if low_quality is not None and iou.shape[1]:
            usable = iou.masked_fill(ignored[near], -1.0)
            best_of = _low_quality(usable, low_quality, start, apart=claim_apart)
            low[near] = torch.maximum(low[near], best_of)
    gt = torch.full_like(index, IGNORED).masked_fill(best < negative, NEGATIVE)
    gt = torch.where((best >= positive) & (index >= 0), index, gt)
    gt = torch.where(low >= 0, low, gt)
    return Matches(gt.masked_fill(ignored, IGNORED), best)


def _blocks(
    boxes: Tensor, gt_boxes: Tensor, around: Tensor | None = None, *, every: bool = False
) -> Iterator[tuple[int, Tensor | slice, Tensor]]:
    """Yield the IoUs of k ground-truth boxes at a time with all boxes that they touch.

    An object touches few of a pyramid's anchors. To know which, a device would have to be waited
    for: there all boxes are taken.

    Args:
        boxes: (N, 4), or (N, M, 4): the best of M counts.
        gt_boxes: (G, 4).
        around: (N, 4) what is to be touched: by default the boxes, what encloses the M.
        every: take all boxes, touched or not.

    Yields:
        the first ground-truth box's number, the rows of n boxes, and the IoUs (k, n).
    """
    shapes = boxes if boxes.dim() == 3 else boxes[:, None]
    if every or boxes.device.type != "cpu":
        for part in blocks(len(gt_boxes), shapes.shape[:2].numel()):
            yield part.start, slice(None), _best_iou(gt_boxes[part], shapes)
        return
    if around is None:
        around = torch.cat([shapes[..., :2].amin(1), shapes[..., 2:].amax(1)], 1)
    runs = Runs.of(around.detach().double().numpy())
    for part in blocks(len(gt_boxes), len(boxes)):
        near = torch.from_numpy(runs.rows(gt_boxes[part].detach().double().numpy()))
        yield part.start, near, _best_iou(gt_boxes[part], shapes[near])


def _best_iou(gt_boxes: Tensor, shapes: Tensor) -> Tensor:
    """Return the IoUs (k, n) of boxes (k, 4) with the best of M in each of ``shapes`` (n, M, 4)."""
    iou = every_iou(gt_boxes, shapes.reshape(-1, 4))
    return iou if shapes.shape[1] == 1 else iou.reshape(len(iou), *shapes.shape[:2]).amax(2)


def _low_quality(iou: Tensor, minimum: float, start: int, *, apart: bool) -> Tensor:
    """Return for (k, N) IoUs the last object (numbered from ``start``) each box is the best of.

    Objects that no box overlaps have none, unless ``apart``.
    """
    top = iou.amax(1, keepdim=True)
    best_of = (iou == top) & (top >= minimum) & ((top > 0) | apart)
    number = torch.arange(start, start + len(iou), device=iou.device)[:, None]
    return torch.where(best_of, number, NEGATIVE).amax(0)
