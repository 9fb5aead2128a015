"""Which matched anchors or proposals are trained on: the one source of randomness of a detector."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.settings.base import Sampling

Shuffle = Callable[[int], Tensor]
"""Gives a permutation (n,) int64 of 0..n-1. A detector draws by nothing else, so that a caller
decides what is random: a seed in training, the index order in tests of parity."""


def random_order(generator: torch.Generator | None) -> Shuffle:
    """Return a ``Shuffle`` that draws from ``generator`` (None: torch's default one)."""
    device = torch.device("cpu") if generator is None else generator.device
    return lambda count: torch.randperm(count, generator=generator, device=device)


class Draws:
    """A ``Shuffle`` of one training step, which also draws for each image by itself.

    What is drawn for an image follows from seed, step and the image's place in the step alone, and
    so does not depend on the process that has the image, nor on the images beside it.

    Args:
        seed: of the run.
        step: number of the training step.
        first: place of the batch's first image among those of the step.
    """

    def __init__(self, seed: int, step: int, first: int = 0) -> None:
        self._address, self._first = (seed, step), first
        self._common = random_order(_generator(seed, step))
        self._images: dict[int, Shuffle] = {}

    def __call__(self, count: int) -> Tensor:
        """Draw for all images: every process draws the same."""
        return self._common(count)

    def of(self, image: int) -> Shuffle:
        """Return what is drawn by for an image of the batch; it goes on from draw to draw."""
        if image not in self._images:
            # from 1 on: numpy's addresses (seed, step) and (seed, step, 0) are one
            generator = _generator(*self._address, self._first + image + 1)
            self._images[image] = random_order(generator)
        return self._images[image]


def of_image(shuffle: Shuffle, image: int) -> Shuffle:
    """Return what is drawn by for an image of the batch; a plain function draws for all alike."""
    return shuffle.of(image) if isinstance(shuffle, Draws) else shuffle


def seed_of(shuffle: Shuffle) -> int:
    """Draw the seed of a generator (40 bits): for what permutations are not made for."""
    seed = 0
    for _ in range(4):
        seed = seed * 1024 + int(shuffle(1024)[0])
    return seed


def _generator(*address: int) -> torch.Generator:
    """Return a generator, on the host, whose numbers follow from these."""
    return torch.Generator().manual_seed(addressed(*address))


def addressed(*address: int) -> int:
    """Return a seed (63 bits) for what is at this address: (seed, step, ...)."""
    state = np.random.SeedSequence(address).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))


def sample(gts: Sequence[Tensor], rule: Sampling, shuffle: Shuffle) -> list[tuple[Tensor, Tensor]]:
    """Choose rows to train on in each image, with one wait for the device.

    ``rule.samples`` an image, at most ``rule.positive_share`` of them positive.

    Args:
        gts: (N,) matches of each image.
        rule: how many; negatives fill up what positives leave.
        shuffle: draws the choice.

    Returns:
        for each image rows of positives and of negatives, each ascending.
    """
    rows = rows_each([mask for gt in gts for mask in (gt >= 0, gt == NEGATIVE)])
    chosen = []
    for image, (positive, negative) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        draw = of_image(shuffle, image)
        positives = _choose(positive, int(rule.samples * rule.positive_share), draw)
        negatives = _choose(negative, rule.samples - len(positives), draw)
        chosen.append((positives, negatives))
    return chosen


def _choose(rows: Tensor, count: int, shuffle: Shuffle) -> Tensor:
    if len(rows) <= count:
        return rows
    chosen = shuffle(len(rows))[:count].sort().values
    return rows[chosen.to(rows.device, non_blocking=True)]
