"""Numbers of the host on the device, without a wait for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def constant(values: Sequence[float], like: Tensor) -> Tensor:
    """Return numbers as a tensor (N,) of the type and on the device of ``like``.

    ``like.new_tensor(values)`` gives the same, but on CUDA it waits until the copy is done.
    """
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)
