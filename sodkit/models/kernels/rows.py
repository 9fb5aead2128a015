"""Layers on rows whose number differs from step to step, such as RoIs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from sodkit.models.kernels.first import fixed_shapes

TOGETHER = 128
"""Rows are padded to multiples of this."""


def by_rows(layer: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Return ``layer(rows)``, (N, ...), of a layer that treats each row by itself.

    On a CPU zeros are added before, and what comes of them is left out: oneDNN makes a routine for
    every new shape and keeps it, so that memory grew with every training step.
    """
    missing = -len(rows) % TOGETHER
    if missing == 0 or fixed_shapes(rows):
        return layer(rows)
    return layer(F.pad(rows, (0, 0) * (rows.dim() - 1) + (0, missing)))[: len(rows)]
