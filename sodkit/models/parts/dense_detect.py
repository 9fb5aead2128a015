"""From a dense head's output to detections: the same for all one-stage detectors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.models.kernels.first import first, fixed_shapes
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.parts import postprocess
from sodkit.models.parts.dense_head import DenseOutput
from sodkit.settings.base import Beyond

Decode = Callable[[int, Tensor, Tensor], Tensor]
"""From a level, rows (N,) of its anchors or points and their deltas (N, 4 or 5) to boxes (N, 4)
xyxy or (N, 5) oriented, in px of the network's input."""

Choose = Callable[[Tensor, float, int], tuple[Tensor, Tensor, Tensor]]
"""From logits (A, classes) of a level, least score and a number to scores, anchors and classes (N,)
of the pairs that are decoded: ``best_pairs`` or ``of_best_anchors``."""


def candidates_each(
    output: DenseOutput, batch: Batch, score: float, pre: int, decode: Decode,
    choose: Choose | None = None, outside: Beyond = "drop",
) -> list[Candidates]:  # fmt: skip
    """Return the boxes of each image before NMS, placed in it, with their labels as groups.

    Args:
        output: the head's.
        batch: the images.
        score: threshold on the class score alone, before it is multiplied by the centerness (FCOS,
            ATSS): final scores may lie below it.
        pre: pairs of anchor and class that are kept a level before NMS; of ``of_best_anchors``
            anchors.
        decode: how deltas become boxes.
        choose: which pairs are kept a level before NMS; None: ``best_pairs``.
        outside: what happens to oriented boxes centred beyond the image.
    """
    images = range(len(batch.sizes))
    found = [candidates(output, image, score, pre, decode, choose) for image in images]
    return postprocess.placed(found, batch.sizes, outside)


def candidates(
    output: DenseOutput, image: int, score: float, pre: int, decode: Decode,
    choose: Choose | None = None,
) -> Candidates:  # fmt: skip
    """Return the boxes of an image before NMS, level by level, with their labels as groups.

    Args: see ``candidates_each``.
    """
    parts = []
    for level, logits in enumerate(output.logits):
        scores, rows, labels = (choose or best_pairs)(logits[image], score, pre)
        usable = scores > score
        boxes = decode(level, rows, output.deltas[level][image, rows])
        if output.centerness is not None:
            scores = scores * output.centerness[level][image, rows].float().sigmoid()
        parts.append((boxes, scores, labels, usable))
    return Candidates(*(torch.cat(part) for part in zip(*parts, strict=True)))


def best_pairs(logits: Tensor, score: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the ``count`` best pairs of anchor and class of one level of an image.

    On a device all pairs are sorted, and those below the score that are among the best come last,
    with a score of -1: how many there are would have to be waited for. So it is in a graph, whose
    shapes are fixed. Else on the CPU they are left out first, which is faster there.

    Args:
        logits: (A, classes).
        score: pairs with a greater score only.
        count: pairs kept.

    Returns:
        scores (N,), anchors (N,) and classes (N,), best first.
    """
    scores = logits.float().sigmoid()
    if fixed_shapes(scores):
        return best_of_all_pairs(scores, score, count)
    anchor, label = torch.nonzero(scores > score, as_tuple=True)
    found, rows = scores[anchor, label].sort(descending=True, stable=True)
    rows = rows[:count]
    return found[:count], anchor[rows], label[rows]


def best_of_all_pairs(scores: Tensor, least: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Do what ``best_pairs`` does as on a device: those not above ``least`` come last, as -1."""
    each = torch.where(scores > least, scores, -1.0).flatten()
    found, place = first(each, count)
    classes = scores.shape[1]
    return found, place.div(classes, rounding_mode="floor"), place % classes


def of_best_anchors(logits: Tensor, score: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pairs of the ``count`` anchors whose best class scores best (mmrotate).

    Args and returns as of ``best_pairs``, but not in the order of their scores.
    """
    scores = logits.float().sigmoid()
    best = first(scores.amax(1), count)[1]
    found = scores[best]
    if fixed_shapes(found):
        return all_of_anchors(found, best, score)
    row, label = torch.nonzero(found > score, as_tuple=True)
    return found[row, label], best[row], label


def all_of_anchors(scores: Tensor, anchors: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return all pairs of anchors (N,) with scores (N, classes); -1 if not above ``least``."""
    count, classes = scores.shape
    labels = torch.arange(classes, device=scores.device)
    return (
        torch.where(scores > least, scores, -1.0).flatten(),
        anchors[:, None].expand(count, classes).flatten(),
        labels.expand(count, classes).flatten(),
    )
