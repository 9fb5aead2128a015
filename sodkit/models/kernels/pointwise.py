"""1x1 convolutions by the fast routine of CPUs, also on one thread.

On one thread torch computes 1x1 convolutions without stride and dilation by a plain matrix
product, all others by oneDNN, which is faster (docs/systems.md, "Speed"). A kernel of one tap has
nothing to dilate: asking for a dilation changes the routine and nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def dilation(x: Tensor, conv: nn.Conv2d) -> tuple[int, ...]:
    """Return the dilation to convolve maps (B, C, H, W) with: of 1x1 kernels on CPUs not 1."""
    if conv.kernel_size == (1, 1) and x.device.type == "cpu" and not torch.compiler.is_compiling():
        return (2, 2)
    return conv.dilation
