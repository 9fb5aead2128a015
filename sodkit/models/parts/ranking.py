"""Which place each row has in its group."""

from __future__ import annotations

import torch
from torch import Tensor


def place_in_group(group: Tensor, ranked: Tensor) -> Tensor:
    """Return the place (N,) int64 of each row among those of its group, the least first.

    Args:
        group: (N,) int64, in any order.
        ranked: (N,) by what they are ranked; of equal ones the first row is the first.
    """
    order = ranked.sort(stable=True).indices
    order = order[group[order].sort(stable=True).indices]
    own = group[order]
    place = torch.arange(len(own), device=own.device) - torch.searchsorted(own, own)
    return torch.empty_like(place).index_copy(0, order, place)
