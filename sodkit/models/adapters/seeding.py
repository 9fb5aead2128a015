"""Randomness that a library draws by itself, made to follow our ``Shuffle``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sodkit.models.parts.sampling import Shuffle, of_image, seed_of


@contextmanager
def seeded(shuffle: Shuffle, device: torch.device) -> Iterator[None]:
    """Seed torch's generators from ``shuffle`` for the block, and give them back their states.

    Samplers and dropout of other libraries draw from the global generator: so they too follow
    from the seed, epoch and step of a training.
    """
    # by the batch's first image: processes that have other images draw differently
    seed = seed_of(of_image(shuffle, 0))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
