"""Objects that no anchor is matched to take the best one that is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sodkit.arrays import FloatArray, IntArray
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts.box_iou import paired_iou
from sodkit.models.parts.rotated_pairs import touching_each

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
    """Return the anchors that overlap each box, on the host.

    Args:
        anchors: (N, 4).
        boxes: (M, 4) of each image.
        free: (N,) bool of each image.

    Returns:
        for each image ends (M,) of each box's pairs among all P of the image; their anchors (P,),
        ascending in each box, and IoUs (P,), of anchors that are not free 0.
    """
    found, sizes = [], []
    near = touching_each([(anchors, own) for own in boxes])
    for own, usable, (anchor, box) in zip(boxes, free, near, strict=True):
        iou = paired_iou(own[box], anchors[anchor]).masked_fill(~usable[anchor], 0)
        found.append(torch.stack([box.double(), anchor.double(), iou.double()]))
        sizes.append(len(box))
    images = torch.split(torch.cat(found, 1).cpu(), sizes, 1)
    return [_on_host(image, len(own)) for image, own in zip(images, boxes, strict=True)]


def _on_host(pairs: Tensor, count: int) -> tuple[IntArray, IntArray, FloatArray]:
    """Return what ``_overlaps`` does of an image: box, anchor and IoU (3, P) of ``count`` boxes."""
    box, anchor, iou = pairs.numpy()
    each = np.bincount(box.astype(np.int64), minlength=count)
    return each.cumsum(), anchor.astype(np.int64), iou


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
