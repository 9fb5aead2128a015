"""Objects that no anchor is matched to take the best one that is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sodkit.arrays import FloatArray, IntArray
from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts.box_iou import paired_iou, touching

NEGATIVE = -1


def give_best(
    anchors: Tensor, boxes: Sequence[Tensor], gts: Sequence[Tensor], free: Sequence[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Assign to every object without an anchor the best free one, if they overlap.

    The objects of an image choose in turn, so that is done on the host. A device is waited for
    three times, whatever the number of images and objects.

    Args:
        anchors: (N, 4) of every image.
        boxes: (G, 4) the objects of each image.
        gts: (N,) the matches of each image so far.
        free: (N,) bool: the anchors of each image that may be assigned.

    Returns:
        for each image the matches (N,), and the rows (P,) of the anchors that have an object,
        ascending.
    """
    unserved = [_unserved(gt, len(own)) for gt, own in zip(gts, boxes, strict=True)]
    rows = rows_each([*unserved, *(gt >= 0 for gt in gts)])
    missing, positives = rows[: len(gts)], rows[len(gts) :]
    if not any(map(len, missing)):
        return list(zip(gts, positives, strict=True))
    needy = [own[those] for own, those in zip(boxes, missing, strict=True)]
    found = []
    for image, (ends, anchor, iou) in enumerate(_overlaps(anchors, needy, free)):
        place, taken = _in_turn(ends, anchor, iou)
        device = gts[image].device
        wanted = torch.from_numpy(place).to(device, non_blocking=True)
        row = torch.from_numpy(taken).to(device, non_blocking=True)
        gt = gts[image].index_put((row,), missing[image][wanted])
        found.append((gt, torch.cat([positives[image], row]).sort().values))
    return found


def _unserved(gt: Tensor, objects: int) -> Tensor:
    """Return (G,) bool: no anchor is matched to the object."""
    served = torch.zeros(objects + 1, dtype=torch.bool, device=gt.device)
    served[gt.clamp(min=NEGATIVE)] = True  # what has no object writes to the last place
    return ~served[:-1]


def _overlaps(
    anchors: Tensor, boxes: Sequence[Tensor], free: Sequence[Tensor]
) -> list[tuple[IntArray, IntArray, FloatArray]]:
    """Return the free anchors that overlap each box, on the host.

    The pairs are counted first: a list of known length needs no wait for the device.

    Args:
        anchors: (N, 4).
        boxes: (M, 4) of each image.
        free: (N,) bool of each image.

    Returns:
        for each image ends (M,) of each box's pairs among all P of the image; their anchors (P,),
        ascending in each box, and IoUs (P,).
    """
    parts = [
        (own[part], usable)
        for own, usable in zip(boxes, free, strict=True)
        for part in blocks(len(own), len(anchors))
    ]
    counts = [(touching(part, anchors) & usable).sum(1) for part, usable in parts]
    ends = torch.cat(counts).cumsum(0).cpu().numpy()
    pairs, first, done = [], 0, 0
    for part, usable in parts:
        first += len(part)
        size, done = int(ends[first - 1]) - done, int(ends[first - 1])
        near = touching(part, anchors) & usable
        row, column = torch.nonzero_static(near, size=size).unbind(1)
        iou = paired_iou(part[row], anchors[column])
        pairs.append(torch.stack([column.double(), iou.double()]))
    anchor, overlap = torch.cat(pairs, 1).cpu().numpy()
    return _by_image(ends, anchor.astype(np.int64), overlap, [len(own) for own in boxes])


def _by_image(
    ends: IntArray, anchor: IntArray, iou: FloatArray, counts: Sequence[int]
) -> list[tuple[IntArray, IntArray, FloatArray]]:
    """Cut the pairs of all images, with ``counts`` boxes each, into those of each image."""
    found, box, start = [], 0, 0
    for count in counts:
        own = ends[box : box + count]
        stop = int(own[-1]) if count else start
        found.append((own - start, anchor[start:stop], iou[start:stop]))
        box, start = box + count, stop
    return found


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
