"""Training steps and detection of every kind on a GPU that is not there (``FakeCuda``)."""

from __future__ import annotations

import pytest
import torch

from tests.engine.test_contract import (
    GIVEN,
    KINDS,
    LOW,
    batch,
    build,
    every_kind,
    none,
    shuffle,
    some,
    target,
)
from tests.fake_cuda import CUDA, FakeCuda


@every_kind
@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_a_step_on_a_gpu_gives_the_losses_of_the_cpu(kind, given):
    wanted = build(kind)(given(kind), shuffle())
    with FakeCuda() as gpu:
        detector = build(kind).to(CUDA)
        optimizer = torch.optim.SGD(detector.parameters(), lr=1e-3)
        images = given(kind).to(CUDA)
        gpu.reset()
        losses = detector(images, shuffle())
        sum(losses.values()).backward()
        optimizer.step()
        assert not gpu.copies
    for name, value in wanted.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-5, msg=name)


def crowd(kind, images, count):
    """Return images with ``count`` objects each, many of which no anchor fits."""
    rng = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=rng) * torch.tensor([110.0, 80.0])
    boxes = torch.cat([corner, corner + 1 + 4 * torch.rand(count, 2, generator=rng)], 1)
    rows = [(*box, number % 2) for number, box in enumerate(boxes.tolist())]
    return batch(*[target(kind, *rows)] * images)


WAITS = 12
"""As many synchronisations a training step may have, whatever the number of images and objects."""


@pytest.mark.parametrize(("images", "objects"), [(2, 3), (2, 300), (6, 30)])
@pytest.mark.parametrize("name", KINDS)
def test_synchronisations_of_a_training_step(name, images, objects):
    with FakeCuda() as gpu:
        detector = build(KINDS[name]).to(CUDA)
        given = crowd(KINDS[name], images, objects).to(CUDA)
        optimizer = torch.optim.SGD(detector.parameters(), lr=1e-3, momentum=0.9)
        gpu.reset()
        losses = torch.stack(list(detector(given, shuffle()).values()))
        losses.tolist()  # for the log
        losses.sum().backward()
        optimizer.step()
    assert not gpu.copies
    assert gpu.waits.total() <= WAITS, gpu.waits


@every_kind
def test_detections_on_a_gpu_are_those_of_the_cpu(kind):
    images = batch(some(kind), none(kind), sizes=((96, 128), (50, 64)))
    wanted = build(kind).eval().detect(images, LOW)
    with FakeCuda() as gpu:
        detector = build(kind).eval().to(CUDA)
        images = images.to(CUDA)
        gpu.reset()
        found = detector.detect(images, LOW)
        assert not gpu.copies
        assert all(one.boxes.is_cuda for one in found)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-5)
