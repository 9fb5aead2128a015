"""Areas, intersections and IoUs of boxes as tensors; upright ones with a gradient, in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.models.kernels.rotated_iou import rotated_iou

TINY = 1e-6
"""px^2: the least union that is divided by."""


def area(boxes: Tensor) -> Tensor:
    """Return the areas (N,) of boxes (N, 4) xyxy or (N, 5) oriented."""
    return (
        boxes[:, 2] * boxes[:, 3] if boxes.shape[1] == 5 else (boxes[:, 2:] - boxes[:, :2]).prod(1)
    )


def intersection(a: Tensor, b: Tensor) -> Tensor:
    """Return intersection areas (A, B) of boxes (A, 4) and (B, 4) xyxy.

    Column by column of coordinates: there are no (A, B, 2) arrays.
    """
    width = torch.minimum(a[:, 2, None], b[:, 2]) - torch.maximum(a[:, 0, None], b[:, 0])
    height = torch.minimum(a[:, 3, None], b[:, 3]) - torch.maximum(a[:, 1, None], b[:, 1])
    return width.clamp_(min=0).mul_(height.clamp_(min=0))


def touching(a: Tensor, b: Tensor) -> Tensor:
    """Return (A, B) bool: the upright boxes (A, 4) and (B, 4) overlap."""
    near = (a[:, 0, None] < b[:, 2]) & (b[:, 0] < a[:, 2, None])
    return near & (a[:, 1, None] < b[:, 3]) & (b[:, 1] < a[:, 3, None])


def every_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoUs (A, B) of boxes (A, 4) and (B, 4) xyxy."""
    inter = intersection(a, b)
    return inter / (area(a)[:, None] + area(b) - inter).clamp(min=TINY)


def every_giou(a: Tensor, b: Tensor) -> Tensor:
    """Return the GIoUs (A, B) in [-1, 1] of boxes (A, 4) and (B, 4) xyxy.

    Rezatofighi et al., CVPR 2019: the IoU less the share of the enclosing box in neither of them.
    """
    inter = intersection(a, b)
    union = (area(a)[:, None] + area(b) - inter).clamp(min=TINY)
    width = torch.maximum(a[:, 2, None], b[:, 2]) - torch.minimum(a[:, 0, None], b[:, 0])
    height = torch.maximum(a[:, 3, None], b[:, 3]) - torch.minimum(a[:, 1, None], b[:, 1])
    around = (width * height).clamp(min=TINY)
    return inter / union - (around - union) / around


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the IoU (N,) of boxes row by row, both upright (N, 4) or both oriented (N, 5).

    That of oriented boxes is exact and has no gradient.
    """
    if a.shape[-1] == 5:
        if a.device.type != "cpu":
            return rotated_iou(a, b).to(a.dtype)
        first, second = (x.detach().double().cpu().numpy() for x in (a, b))
        return torch.from_numpy(rotated_iou_pairs(first, second)).to(a)
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inter = (high - low).clamp(min=0).prod(1)
    return inter / (area(a) + area(b) - inter).clamp(min=TINY)
