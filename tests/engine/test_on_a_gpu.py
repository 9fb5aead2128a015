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
        if detector.boxes == "horizontal":
            assert not gpu.copies
    for name, value in wanted.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-5, msg=name)


def crowd(kind, count):
    """Return two images with ``count`` objects each, many of which no anchor fits."""
    rng = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=rng) * torch.tensor([110.0, 80.0])
    boxes = torch.cat([corner, corner + 1 + 4 * torch.rand(count, 2, generator=rng)], 1)
    rows = [(*box, number % 2) for number, box in enumerate(boxes.tolist())]
    return batch(target(kind, *rows), target(kind, *rows))


WAITS = 50
"""More in a step of a batch of 2 are a step back."""


@pytest.mark.parametrize("name", ["cfinet", "cfinet-release", "faster-rcnn", "retinanet"])
def test_synchronisations_do_not_grow_with_the_objects(name):
    waits = []
    for count in (3, 300):
        with FakeCuda() as gpu:
            detector, images = build(KINDS[name]).to(CUDA), crowd(KINDS[name], count).to(CUDA)
            gpu.reset()
            sum(detector(images, shuffle()).values()).backward()
            waits.append(gpu.waits.total())
            assert not gpu.copies
    assert max(waits) <= min(waits) + 10  # a branch that few objects do not take
    assert max(waits) <= WAITS


@every_kind
def test_detections_on_a_gpu_are_those_of_the_cpu(kind):
    images = batch(some(kind), none(kind), sizes=((96, 128), (50, 64)))
    wanted = build(kind).eval().detect(images, LOW)
    with FakeCuda() as gpu:
        detector = build(kind).eval().to(CUDA)
        images = images.to(CUDA)
        gpu.reset()
        found = detector.detect(images, LOW)
        if detector.boxes == "horizontal":
            assert not gpu.copies
        assert all(one.boxes.is_cuda for one in found)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.scores, other.scores, rtol=1e-4, atol=1e-5)
