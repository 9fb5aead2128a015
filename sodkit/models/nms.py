"""Non-maximum suppression within groups: levels of the pyramid, classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms


def grouped_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Suppress boxes that overlap a better one of their group by an IoU above ``threshold``.

    On the CPU group by group, so that coordinates stay exact (shifting groups apart in float32
    changes IoUs of small boxes); on other devices by torchvision's ``batched_nms``, without a
    synchronisation for each group.

    Args:
        boxes: (N, 4) xyxy, float32.
        scores: (N,).
        groups: (N,) integers.
        threshold: IoU in [0, 1].

    Returns:
        indices of the boxes kept, best first.
    """
    if boxes.device.type != "cpu":
        return batched_nms(boxes, scores, groups, threshold)  # type: ignore[no-any-return]
    kept = []
    for group in groups.unique():  # type: ignore[no-untyped-call]
        rows = torch.nonzero(groups == group)[:, 0]
        kept.append(rows[nms(boxes[rows], scores[rows], threshold)])
    if not kept:
        return groups.new_zeros(0)
    keep = torch.cat(kept)
    return keep[scores[keep].argsort(descending=True, stable=True)]
