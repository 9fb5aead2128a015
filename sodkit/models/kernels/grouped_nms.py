"""Non-maximum suppression within groups: levels of the pyramid, classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from sodkit.geometry.nms import nms_rotated


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


def grouped_nms_rotated(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Do the same for oriented boxes (N, 5) by their exact rotated IoU, on the CPU, linear in N."""
    columns = [x.detach().cpu().numpy() for x in (boxes.double(), scores.double(), groups)]
    return torch.from_numpy(nms_rotated(columns[0], columns[1], threshold, columns[2])).to(groups)
