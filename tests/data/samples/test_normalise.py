from __future__ import annotations

import numpy as np
import torch

from sodkit.data.batches import Batch
from sodkit.data.samples.normalise import normalised
from sodkit.data.samples.patch_dataset import pad_images
from sodkit.settings import Input
from tests.fake_cuda import CUDA, FakeCuda

INPUT = Input()


def loaded(*sizes: tuple[int, int]) -> Batch:
    """Return a batch of images (height, width) that together have every value in every channel."""
    rng = np.random.default_rng(0)
    images = [rng.permutation(np.resize(np.arange(256), h * w * 3)) for h, w in sizes]
    pixels = [i.reshape(h, w, 3).astype(np.uint8) for i, (h, w) in zip(images, sizes, strict=True)]
    return pad_images(pixels, [(1.0, 1.0)] * len(sizes), INPUT)


def test_every_value_of_every_channel_to_the_bit() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    (image,) = normalised(pad_images([values], [(1.0, 1.0)], INPUT), INPUT).images
    shifted = values.astype(np.float32) - np.asarray(INPUT.mean, np.float32)
    wanted = (shifted / np.asarray(INPUT.std, np.float32)).transpose(2, 0, 1)
    assert np.array_equal(image[:, :16, :16].numpy(), wanted)


def test_the_padding_is_zero_before_and_after() -> None:
    batch = loaded((40, 20), (33, 64))
    assert batch.images.shape == (2, 3, 64, 64)
    for images in (batch.images, normalised(batch, INPUT).images):
        for image, (height, width) in zip(images, batch.sizes, strict=True):
            assert not image[:, height:].any()
            assert not image[:, :, width:].any()
            assert image[:, :height, :width].any()


def test_batches_travel_as_bytes_with_their_channels_last() -> None:
    images = loaded((32, 32), (20, 30)).images
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    floats = normalised(loaded((32, 32)), INPUT).images
    assert floats.dtype == torch.float32
    assert floats.is_contiguous()


def test_a_gpu_is_not_waited_for() -> None:
    batch = loaded((40, 20), (33, 64))
    with FakeCuda() as gpu:
        found = normalised(batch.to(CUDA), INPUT)
        assert found.images.device == CUDA
    assert not gpu.waits
    assert not gpu.copies
    assert torch.equal(found.images, normalised(batch, INPUT).images)
