"""Indices of true entries: of many masks with one wait for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def nonzero_each(masks: Sequence[Tensor]) -> list[Tensor]:
    """Return ``torch.nonzero(mask)``, (n, dimensions) int64, of each mask.

    How many entries are true decides a shape, so that the host must know it. On a device it waits
    once to read the counts of all masks, and not again.
    """
    if not masks or masks[0].device.type == "cpu":
        return [torch.nonzero(mask) for mask in masks]
    return nonzero_counted(masks)


def nonzero_counted(masks: Sequence[Tensor]) -> list[Tensor]:
    """Do what ``nonzero_each`` does as on a device, one mask or more."""
    counts = torch.stack([mask.sum() for mask in masks]).tolist()
    return [
        torch.nonzero_static(mask, size=count) for mask, count in zip(masks, counts, strict=True)
    ]


def rows_each(masks: Sequence[Tensor]) -> list[Tensor]:
    """Return the indices (n,) int64 of the true entries of each mask (N,), ascending."""
    return [rows[:, 0] for rows in nonzero_each(masks)]
