"""Dropout that follows from seed, step and image, as all that is random in training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sodkit.models.parts.sampling import Shuffle, of_image, seed_of

Drop = Callable[[Tensor], Tensor]
"""Gives what is left of activations (B, ...) of the images of a batch, in their type."""


def nothing(x: Tensor) -> Tensor:
    """Drop nothing: at prediction."""
    return x


def dropping(share: float, shuffle: Shuffle, images: int, device: torch.device) -> Drop:
    """Return what sets a share of activations to 0 and scales the others up to the same mean.

    What is dropped of an image does not depend on the images beside it, so a step may be divided;
    it does depend on the device.

    Args:
        share: in [0, 1).
        shuffle: draws a seed for each image.
        images: of the batch.
        device: of the activations.
    """
    if share == 0:
        return nothing
    seeds = [seed_of(of_image(shuffle, image)) for image in range(images)]
    generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def drop(x: Tensor) -> Tensor:
        gone = torch.empty(x.shape, dtype=torch.bool, device=x.device)
        for rows, generator in zip(gone, generators, strict=True):
            rows.bernoulli_(share, generator=generator)
        return (x / (1 - share)).masked_fill(gone, 0)

    return drop
