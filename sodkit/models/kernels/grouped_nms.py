"""Non-maximum suppression within groups: levels of the pyramid, classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms

from sodkit.geometry.nms import nms_rotated


def grouped_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Suppress boxes that overlap a better one of their group by an IoU above ``threshold``.

    On the CPU group by group; on other devices in one call, with one synchronisation. Groups are
    shifted apart there, in float64: float32 would change the IoUs of small boxes.

    Args:
        boxes: (N, 4) xyxy, float32.
        scores: (N,).
        groups: (N,) integers.
        threshold: IoU in [0, 1].

    Returns:
        indices of the boxes kept, best first.
    """
    if boxes.device.type != "cpu":
        return nms_apart(boxes, scores, groups, threshold)
    kept = []
    for group in groups.unique():  # type: ignore[no-untyped-call]
        rows = torch.nonzero(groups == group)[:, 0]
        kept.append(rows[nms(boxes[rows], scores[rows], threshold)])
    if not kept:
        return groups.new_zeros(0)
    keep = torch.cat(kept)
    return keep[scores[keep].argsort(descending=True, stable=True)]


def nms_apart(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Do what ``grouped_nms`` does in one call of ``nms``.

    The step between groups is a power of two, so that shifting rounds nothing: float64 has 29 bits
    more than the coordinates.
    """
    if len(boxes) == 0:
        return groups.new_zeros(0)
    order = groups.argsort(stable=True)  # among equal scores the lower group is first
    exact, group = boxes[order].double(), groups[order]
    step = torch.exp2(torch.log2(exact.abs().amax().clamp(min=1)).ceil() + 1)
    return order[nms(exact + (group * step)[:, None], scores[order].double(), threshold)]


def grouped_nms_rotated(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Do the same for oriented boxes (N, 5) by their exact rotated IoU, on the CPU, linear in N."""
    columns = [x.detach().cpu().numpy() for x in (boxes.double(), scores.double(), groups)]
    return torch.from_numpy(nms_rotated(columns[0], columns[1], threshold, columns[2])).to(groups)
