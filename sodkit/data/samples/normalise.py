"""From the bytes of a batch to the numbers that detectors take, on the batch's device.

Batches travel as bytes: a quarter of the memory that workers share and that is copied to a GPU.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.settings import Input


def normalised(batch: Batch, settings: Input) -> Batch:
    """Return the batch with float32 images: (value - mean) / std, and 0 in the padding.

    Args:
        batch: images (B, 3, H, W) uint8, on any device.
        settings: mean and std of the channels.
    """
    device = batch.images.device
    mean, std = (
        torch.tensor(values).to(device, non_blocking=True)
        for values in (settings.mean, settings.std)
    )
    images = torch.empty(batch.images.shape, device=device)
    # Channel by channel, as loaded images have their channels last. `std` stays a tensor of the
    # device: by a number of the host CUDA does not divide, it multiplies by the rounded inverse.
    for channel in range(3):
        images[:, channel].copy_(batch.images[:, channel]).sub_(mean[channel]).div_(std[channel])
    _clear_padding(images, batch.sizes)
    return replace(batch, images=images)


def _clear_padding(images: Tensor, sizes: tuple[tuple[int, int], ...]) -> None:
    """Set what lies beyond each image's (height, width) to 0, in place."""
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:, height:] = 0
        image[:, :, width:] = 0
