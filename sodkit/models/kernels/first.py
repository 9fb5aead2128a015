"""The best of many scores, also in a graph of fixed shapes."""

from __future__ import annotations

import torch
from torch import Tensor


def fixed_shapes(like: Tensor) -> bool:
    """Return whether shapes must not depend on data: on a device, which would be waited for.

    So it is in a graph that is compiled or exported.
    """
    return like.device.type != "cpu" or torch.compiler.is_compiling()


def first(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` greatest scores, fewer if there are fewer, and their places, best first.

    Of equal scores the earlier one comes first. A graph has the operator that finds the greatest
    without sorting all; that of ONNX keeps the order of equal scores.

    Args:
        scores: (N,).
        count: how many.
    """
    if torch.compiler.is_compiling():
        found, place = scores.topk(min(count, len(scores)))
        return found, place
    found, place = scores.sort(descending=True, stable=True)
    return found[:count], place[:count]
