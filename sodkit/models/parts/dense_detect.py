"""From a dense head's output to detections: the same for all one-stage detectors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.parts import postprocess
from sodkit.models.parts.dense_head import DenseOutput
from sodkit.settings import Keep
from sodkit.settings.base import Beyond

Decode = Callable[[int, Tensor, Tensor], Tensor]
"""From a level, rows (N,) of its anchors or points and their deltas (N, 4 or 5) to boxes (N, 4)
xyxy or (N, 5) oriented, in px of the network's input."""

Choose = Callable[[Tensor, float, int], tuple[Tensor, Tensor, Tensor]]
"""From logits (A, classes) of a level, least score and a number to scores, anchors and classes (N,)
of the pairs that are decoded: ``best_pairs`` or ``of_best_anchors``."""


@torch.no_grad()
def detect(
    output: DenseOutput, batch: Batch, keep: Keep, pre: int, decode: Decode,
    choose: Choose | None = None, outside: Beyond = "drop",
) -> list[PatchDetections]:  # fmt: skip
    """Return the detections of each image, best first, in pixels of its patch before resizing.

    Args:
        output: the head's.
        batch: the images.
        keep: score threshold, NMS and limit. The threshold is on the class score alone, before it
            is multiplied by the centerness (FCOS, ATSS): final scores may lie below it.
        pre: pairs of anchor and class that are kept a level before NMS; of ``of_best_anchors``
            anchors.
        decode: how deltas become boxes.
        choose: which pairs are kept a level before NMS; None: ``best_pairs``.
        outside: what becomes of oriented boxes centred beyond the image.
    """
    found = []
    for image, (size, scale) in enumerate(zip(batch.sizes, batch.scales, strict=True)):
        boxes, scores, labels = candidates(output, image, keep.score, pre, decode, choose)
        kept = postprocess.thin(boxes, scores, labels, size, keep, outside)
        found.append(postprocess.in_patch(*kept, scale))
    return found


def candidates(
    output: DenseOutput, image: int, score: float, pre: int, decode: Decode,
    choose: Choose | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Return boxes (N, 4 or 5), scores (N,) and labels (N,) of an image before NMS, level by level.

    Args: see ``detect``.
    """
    parts = []
    for level, logits in enumerate(output.logits):
        scores, rows, labels = (choose or best_pairs)(logits[image], score, pre)
        boxes = decode(level, rows, output.deltas[level][image, rows])
        if output.centerness is not None:
            scores = scores * output.centerness[level][image, rows].float().sigmoid()
        parts.append((boxes, scores, labels))
    boxes, scores, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return boxes, scores, labels


def best_pairs(logits: Tensor, score: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ``count`` best pairs of anchor and class of one level of an image.

    Args:
        logits: (A, classes).
        score: pairs with a greater score only.
        count: pairs kept.

    Returns:
        scores (N,) in [0, 1], anchors (N,) and classes (N,), best first.
    """
    scores = logits.float().sigmoid()
    anchor, label = torch.nonzero(scores > score, as_tuple=True)
    found, rows = scores[anchor, label].sort(descending=True, stable=True)
    rows = rows[:count]
    return found[:count], anchor[rows], label[rows]


def of_best_anchors(logits: Tensor, score: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pairs of the ``count`` anchors whose best class scores best (mmrotate).

    Args and returns as of ``best_pairs``, but not in the order of their scores.
    """
    scores = logits.float().sigmoid()
    best = scores.amax(1).sort(descending=True, stable=True).indices[:count]
    row, label = torch.nonzero(scores[best] > score, as_tuple=True)
    anchor = best[row]
    return scores[anchor, label], anchor, label
