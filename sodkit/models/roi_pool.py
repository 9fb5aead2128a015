"""RoI features: each box pooled to a small grid from the pyramid level of its size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

FINEST = 56.0
"""Boxes below 2 * FINEST px (square root of the area) are pooled from P2."""


def levels(boxes: Tensor, count: int) -> Tensor:
    """Return the level (N,) 0..count-1 that boxes (N, 4) are pooled from (release, step 9)."""
    side = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).sqrt()
    return torch.log2(side / FINEST + 1e-6).floor().clamp(0, count - 1).long()


def pool(
    pyramid: Sequence[Tensor], boxes: Tensor, image: Tensor, strides: Sequence[int], size: int
) -> Tensor:
    """Pool boxes by RoIAlign with as many samples a bin as it has cells (release, step 9).

    Args:
        pyramid: P2..P5, (B, C, H_l, W_l).
        boxes: (N, 4) xyxy, px of the network's input.
        image: (N,) int64 index of each box's image in the batch.
        strides: of the levels.
        size: rows and columns of the result.

    Returns:
        (N, C, size, size) float32.
    """
    level = levels(boxes, len(pyramid))
    rois = torch.cat([image[:, None].to(boxes.dtype), boxes], 1)
    parts, order = [], []
    for number, (feature, stride) in enumerate(zip(pyramid, strides, strict=True)):
        rows = torch.nonzero(level == number)[:, 0]
        order.append(rows)
        parts.append(
            roi_align(feature.float(), rois[rows], size, 1 / stride, sampling_ratio=0, aligned=True)
        )
    return torch.cat(parts)[torch.cat(order).argsort()]
