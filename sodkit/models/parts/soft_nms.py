"""Soft NMS: a box that overlaps a better one of its class loses score, it is not left out.

Bodla et al., ICCV 2017, with the Gaussian penalty.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.models.parts.box_iou import TINY

LEAST = 0.001
"""Boxes whose score falls below are dropped."""


def soft_nms(
    boxes: Tensor, scores: Tensor, labels: Tensor, sigma: float, limit: int
) -> tuple[Tensor, Tensor]:
    """Return rows and scores (B, K) of the ``limit`` best boxes of each image, best first.

    The best one is taken; the others of its class lose exp(-IoU^2 / sigma) of their score; and so
    on. All images go on together, and no device is waited for.

    Args:
        boxes: (B, N, 4) xyxy.
        scores: (B, N); boxes with a negative one play no part.
        labels: (B, N) int64.
        sigma: the greater, the more overlapping boxes are kept.
        limit: boxes of an image.

    Returns:
        rows (B, K) int64, and scores (B, K), K <= limit: -1 where there are fewer boxes.
    """
    left, rows, found = scores, [], []
    sides = boxes[..., 2:] - boxes[..., :2]
    area = sides.prod(-1)
    for _ in range(min(limit, boxes.shape[1])):
        score, row = left.max(1, keepdim=True)
        if left.device.type == "cpu" and bool((score < 0).all()):
            break
        rows.append(row)
        found.append(score)
        best = boxes.gather(1, row[..., None].expand(-1, 1, 4))
        shared = torch.minimum(boxes[..., 2:], best[..., 2:]) - torch.maximum(
            boxes[..., :2], best[..., :2]
        )
        inter = shared.clamp(min=0).prod(-1)
        iou = inter / (area + area.gather(1, row) - inter).clamp(min=TINY)
        same = labels == labels.gather(1, row)
        left = torch.where(same, left * torch.exp(-(iou**2) / sigma), left)
        left = left.masked_fill(left < LEAST, -1).scatter(1, row, -1.0)
    if not rows:
        return labels[:, :0], scores[:, :0]
    return torch.cat(rows, 1), torch.cat(found, 1)
