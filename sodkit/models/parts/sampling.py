"""Which matched anchors or proposals are trained on: the one source of randomness of a detector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sodkit.models.parts.matchers import NEGATIVE
from sodkit.settings.base import Sampling

Shuffle = Callable[[int], Tensor]
"""Gives a permutation (n,) int64 of 0..n-1. A detector draws by nothing else, so that a caller
decides what is random: a seed in training, the index order in tests of parity."""


def random_order(generator: torch.Generator | None) -> Shuffle:
    """Return a ``Shuffle`` that draws from ``generator`` (None: torch's default one)."""
    device = torch.device("cpu") if generator is None else generator.device
    return lambda count: torch.randperm(count, generator=generator, device=device)


def sample(gt: Tensor, rule: Sampling, shuffle: Shuffle) -> tuple[Tensor, Tensor]:
    """Choose rows to train on: ``rule.samples``, at most ``rule.positive_share`` of them positive.

    Args:
        gt: (N,) matches.
        rule: how many; negatives fill up what positives leave.
        shuffle: draws the choice.

    Returns:
        rows of positives and of negatives, each ascending.
    """
    positives = _choose(gt >= 0, int(rule.samples * rule.positive_share), shuffle)
    negatives = _choose(gt == NEGATIVE, rule.samples - len(positives), shuffle)
    return positives, negatives


def _choose(mask: Tensor, count: int, shuffle: Shuffle) -> Tensor:
    rows = torch.nonzero(mask)[:, 0]
    if len(rows) <= count:
        return rows
    chosen = shuffle(len(rows))[:count].sort().values
    return rows[chosen.to(rows.device, non_blocking=True)]
