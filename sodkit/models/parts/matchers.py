"""Which anchor or proposal learns which object: matching by IoU.

A match is an index of a ground-truth box, or ``NEGATIVE``, or ``IGNORED``. Whatever lies with more
than half of its area inside an ignore box is neither positive nor negative, in every matcher.
The (boxes x ground truth) overlaps are computed in blocks: memory stays bounded in crowds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sodkit.arrays import FloatArray, IntArray
from sodkit.models.kernels.blocks import blocks
from sodkit.models.parts.box_iou import area, every_iou, paired_iou
from sodkit.models.parts.coders import centre_and_size
from sodkit.models.parts.ignored import inside
from sodkit.settings.two_stage import Region, Threshold

NEGATIVE = -1
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
        ignore_boxes: (I, 4) xyxy, or (I, 5) oriented.
        thresholds: (G,) from ``dynamic_threshold``.
        negative: anchors whose best IoU is below are ``NEGATIVE`` (release: .15), those between
            it and the threshold ``IGNORED``; the coarse stage uses neither.
        match_best: an object that got no anchor takes the best one that is still free (objects
            below 3.6 px reach no threshold at all).
    """
    ignored = inside(anchors, ignore_boxes)
    best = anchors.new_zeros(len(anchors))
    reached = anchors.new_zeros(len(anchors))
    gt = torch.full_like(best, NEGATIVE, dtype=torch.int64)
    for start, iou in _blocks(anchors, boxes):
        best = torch.maximum(best, iou.amax(0))
        enough = iou * (iou >= thresholds[start : start + len(iou), None])
        top, row = enough.max(0)
        better = top > reached
        gt = torch.where(better, row + start, gt)
        reached = torch.where(better, top, reached)
    gt = gt.masked_fill((gt < 0) & (best >= negative), IGNORED).masked_fill(ignored, IGNORED)
    if match_best:
        gt = _give_best(anchors, boxes, gt, ignored)
    return Matches(gt, best)


def match_region(
    anchors: Tensor,
    boxes: Tensor,
    ignore_boxes: Tensor,
    region: Region,
    scale: float,
    strides: Sequence[int],
) -> Matches:
    """Match anchors to objects by where their centres lie (Cascade RPN, its first stage).

    An object belongs to the level whose anchors are nearest in size. There, locations in the inner
    region of its box are positive and those in the outer region ignored, as they also are on the
    two levels beside it; of several objects the last one decides. Regions are boxes shrunk about
    their centre, in cells, rounded: an object has one location at least.

    Args:
        anchors: (N, 4) xyxy, square, one a location, of all levels.
        boxes: (G, 4) xyxy, sides > 0.
        ignore_boxes: (I, 4) xyxy, or (I, 5) oriented.
        region: the shares of a box's sides that make the two regions.
        scale: the anchors' sides in strides.
        strides: of the levels, each twice the one before.
    """
    ignored = inside(anchors, ignore_boxes)
    best = anchors.new_zeros(len(anchors))
    last = torch.full_like(best, NEGATIVE, dtype=torch.int64)
    positive, beside = last.clone(), torch.zeros_like(ignored)
    stride = (anchors[:, 2] - anchors[:, 0]) / scale
    level = torch.log2(stride / strides[0]).round()
    cell = (centre_and_size(anchors)[0] / stride[:, None]).round()
    side = area(boxes).sqrt()
    own = torch.log2(side / (scale * strides[0])).add(0.5).floor().clamp(0, len(strides) - 1)
    for start, iou in _blocks(anchors, boxes):
        best = torch.maximum(best, iou.amax(0))
        part = slice(start, start + len(iou))
        distance = (own[part, None] - level).abs()
        inner = _in_region(cell, stride, boxes[part], region.positive) & (distance == 0)
        outer = _in_region(cell, stride, boxes[part], region.ignored)
        number = torch.arange(start, start + len(iou), device=boxes.device)[:, None]
        near = inner | (outer & (distance == 0))
        last = torch.maximum(last, torch.where(near, number, NEGATIVE).amax(0))
        positive = torch.maximum(positive, torch.where(inner, number, NEGATIVE).amax(0))
        beside |= (outer & (distance == 1)).any(0)
    gt = torch.where(last == positive, positive, IGNORED)
    return Matches(gt.masked_fill(beside | ignored, IGNORED), best)


def _in_region(cell: Tensor, stride: Tensor, boxes: Tensor, share: float) -> Tensor:
    """Return (k, N) bool: the location lies in the box shrunk to ``share`` of its sides."""
    inside = torch.ones(len(boxes), len(cell), dtype=torch.bool, device=boxes.device)
    for axis in (0, 1):
        low, high = boxes[:, axis, None], boxes[:, axis + 2, None]
        margin = (1 - share) / 2 * (high - low)
        inside &= cell[:, axis] >= ((low + margin) / stride).round()
        inside &= cell[:, axis] <= ((high - margin) / stride).round()
    return inside


def match_iou(
    boxes: Tensor,
    gt_boxes: Tensor,
    ignore_boxes: Tensor,
    *,
    positive: float,
    negative: float,
    low_quality: float | None = None,
) -> Matches:
    """Match anchors or proposals by their best IoU (Faster R-CNN).

    Args:
        boxes: (N, 4) xyxy anchors or proposals.
        gt_boxes: (G, 4) xyxy.
        ignore_boxes: (I, 4) xyxy, or (I, 5) oriented.
        positive: least IoU of a positive.
        negative: boxes whose best IoU is below are ``NEGATIVE``; between the two ``IGNORED``.
        low_quality: an object also takes the boxes that overlap it best, from this IoU on (None:
            it does not); of several such objects the last one has the box (release).
    """
    ignored = inside(boxes, ignore_boxes)
    best = boxes.new_zeros(len(boxes))
    index = torch.full_like(best, NEGATIVE, dtype=torch.int64)
    low = torch.full_like(index, NEGATIVE)
    for start, iou in _blocks(boxes, gt_boxes):
        top, row = iou.max(0)
        better = top > best
        index = torch.where(better, row + start, index)
        best = torch.where(better, top, best)
        if low_quality is not None and len(boxes):
            usable = iou.masked_fill(ignored, -1.0)
            low = torch.maximum(low, _low_quality(usable, low_quality, start))
    gt = torch.full_like(index, IGNORED).masked_fill(best < negative, NEGATIVE)
    gt = torch.where((best >= positive) & (index >= 0), index, gt)
    gt = torch.where(low >= 0, low, gt)
    return Matches(gt.masked_fill(ignored, IGNORED), best)


def _blocks(boxes: Tensor, gt_boxes: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row and the IoUs (k, N) of k ground-truth boxes at a time."""
    for rows in blocks(len(gt_boxes), len(boxes)):
        yield rows.start, every_iou(gt_boxes[rows], boxes)


def _low_quality(iou: Tensor, minimum: float, start: int) -> Tensor:
    """Return for (k, N) IoUs the last object (numbered from ``start``) each box is the best of."""
    top = iou.amax(1, keepdim=True)
    best_of = (iou == top) & (top >= minimum) & (top > 0)
    number = torch.arange(start, start + len(iou), device=iou.device)[:, None]
    return torch.where(best_of, number, NEGATIVE).amax(0)


def _give_best(anchors: Tensor, boxes: Tensor, gt: Tensor, ignored: Tensor) -> Tensor:
    """Assign to every object without an anchor the best free one, if they overlap."""
    served = torch.zeros(len(boxes) + 1, dtype=torch.bool, device=gt.device)
    served[gt.clamp(min=NEGATIVE)] = True  # what has no object writes to the last place
    missing = torch.nonzero(~served[:-1])[:, 0]
    if len(missing) == 0:
        return gt
    ends, anchor, iou = _overlaps(anchors, boxes[missing], (gt < 0) & ~ignored)
    place, taken = _in_turn(ends, anchor, iou)
    wanted = torch.from_numpy(place).to(gt.device, non_blocking=True)
    rows = torch.from_numpy(taken).to(gt.device, non_blocking=True)
    return gt.index_put((rows,), missing[wanted])


def _overlaps(
    anchors: Tensor, boxes: Tensor, free: Tensor
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the free anchors that overlap each box, on the host.

    The pairs are counted first: a list of known length needs no wait for the device, so that it is
    waited for twice, whatever the number of boxes.

    Args:
        anchors: (N, 4).
        boxes: (M, 4).
        free: (N,) bool.

    Returns:
        ends (M,) of each box's pairs among all P; their anchors (P,), ascending in each box, and
        IoUs (P,).
    """
    parts = blocks(len(boxes), len(anchors))
    counts = [(_touching(boxes[part], anchors) & free).sum(1) for part in parts]
    ends = torch.cat(counts).cumsum(0).cpu().numpy()
    pairs, done = [], 0
    for part in parts:
        size = int(ends[part][-1]) - done
        near = _touching(boxes[part], anchors) & free
        row, column = torch.nonzero_static(near, size=size).unbind(1)
        iou = paired_iou(boxes[part][row], anchors[column])
        pairs.append(torch.stack([column.double(), iou.double()]))
        done += size
    anchor, overlap = torch.cat(pairs, 1).cpu().numpy()
    return ends, anchor.astype(np.int64), overlap


def _touching(a: Tensor, b: Tensor) -> Tensor:
    """Return (A, B) bool: the upright boxes (A, 4) and (B, 4) overlap."""
    near = (a[:, 0, None] < b[:, 2]) & (b[:, 0] < a[:, 2, None])
    return near & (a[:, 1, None] < b[:, 3]) & (b[:, 1] < a[:, 3, None])


def _in_turn(ends: IntArray, anchor: IntArray, iou: FloatArray) -> tuple[IntArray, IntArray]:
    """Let each box in turn take the anchor it overlaps best of those left, of equal ones the first.

    Args: see ``_overlaps``.

    Returns:
        the boxes (K,) that got an anchor, and the anchors (K,).
    """
    left = np.ones(int(anchor.max(initial=-1)) + 1, np.bool_)
    boxes, rows, start = [], [], 0
    for number, end in enumerate(ends.tolist()):
        here = slice(start, end)
        start = end
        open_ = np.where(left[anchor[here]], iou[here], 0.0)
        if open_.max(initial=0.0) > 0:
            row = int(anchor[here][open_.argmax()])
            left[row] = False
            boxes.append(number)
            rows.append(row)
    return np.array(boxes, np.int64), np.array(rows, np.int64)
