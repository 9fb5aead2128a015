"""How many positive anchors the objects of each size class get in a detector's first stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.data.sizes import SIZE_BOUNDS, SIZE_NAMES
from sodkit.models.kernels.constants import constant


@torch.no_grad()
def count_positives(batch: Batch, matches: Sequence[Tensor]) -> Tensor | None:
    """Return objects and their positive anchors by size class, without waiting for the device.

    Args:
        batch: with G objects in all.
        matches: of each image, (A,) the object that each anchor is matched to, negative: none. What
            later stages match is left out.

    Returns:
        (2, sizes) int64, sizes as in ``SIZE_NAMES``; None: there are no matches.
    """
    if len(matches) < len(batch.targets) or not batch.targets:
        return None
    counts = torch.zeros(2, len(SIZE_NAMES), dtype=torch.int64, device=matches[0].device)
    for target, scale, match in zip(batch.targets, batch.scales, matches, strict=False):
        sides = target.boxes[:, 2:] - target.boxes[:, :2] if target.obb is None else None
        sides = target.obb[:, 2:4] if sides is None and target.obb is not None else sides
        assert sides is not None
        area = sides.prod(1) / (scale[0] * scale[1])
        size = torch.searchsorted(constant(SIZE_BOUNDS, area), area.contiguous())
        # the first place takes the anchors without an object
        each = torch.zeros(len(size) + 1, dtype=torch.int64, device=match.device)
        each.index_add_(0, match.clamp(min=-1) + 1, torch.ones_like(match))
        counts[0].index_add_(0, size, torch.ones_like(size))
        counts[1].index_add_(0, size, each[1:])
    return counts
