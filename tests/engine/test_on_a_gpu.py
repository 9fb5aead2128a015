"""Training steps and detection of every kind on a GPU that is not there (``FakeCuda``)."""

from __future__ import annotations

import pytest
import torch

from sodkit.engine.check_output import check_detections
from sodkit.engine.optimizer import make_optimizer
from sodkit.engine.train_step import Share, Trained, train_step
from sodkit.models.detector import Proposes
from sodkit.models.parts import ignored
from sodkit.settings import Keep
from tests.engine.kinds import (
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
    """Return images with ``count`` objects each, many of which no anchor fits, and some regions.

    Of oriented kinds the regions are tilted.
    """
    rng = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=rng) * torch.tensor([110.0, 80.0])
    boxes = torch.cat([corner, corner + 1 + 4 * torch.rand(count, 2, generator=rng)], 1)
    rows = [(*box, number % 2) for number, box in enumerate(boxes.tolist())]
    one = target(kind, *rows, ignore=((40.0, 30.0, 60.0, 42.0), (90.0, 60.0, 110.0, 90.0)))
    if one.ignore_boxes.shape[1] == 5:
        one.ignore_boxes[:, 4] = 0.3
    return batch(*[one] * images)


WAITS = 12
"""As many synchronisations a training step may have, whatever the number of images and objects."""


def step(kind, images, objects):
    """Make the step that training makes, with clipping and the losses for the log."""
    recipe = kind.load("schedule.clip=1.0", "schedule.precision=float32")
    with FakeCuda() as gpu:
        detector = build(kind).to(CUDA)
        given = crowd(kind, images, objects).to(CUDA)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        optimizer = make_optimizer(detector, recipe.schedule)
        trained = Trained.of(detector, optimizer, scaler, recipe.schedule, seed=0)
        gpu.reset()
        losses = train_step(trained, Share(given, 0, images))
    assert losses["loss"] > 0
    assert not gpu.copies
    return gpu.waits


@pytest.mark.parametrize(("images", "objects"), [(2, 3), (2, 300), (6, 30)])
@pytest.mark.parametrize("name", KINDS)
def test_synchronisations_of_a_training_step(name, images, objects):
    waits = step(KINDS[name], images, objects)
    assert waits.total() <= WAITS, waits


ORIENTED = [name for name, kind in KINDS.items() if kind.load().boxes == "oriented"]


@pytest.mark.parametrize("name", ORIENTED)
def test_one_synchronisation_more_for_many_tilted_regions(name, monkeypatch):
    """As in images of full size, where all pairs of anchors and regions are too many to clip."""
    monkeypatch.setattr(ignored, "PAIRS", 0)
    waits = step(KINDS[name], 3, 5)
    assert waits.total() <= WAITS + 1, waits


DETECTING = 8
"""As many synchronisations detecting may have, whatever the number of images and detections."""

IN_BLOCKS = {"dodet": 4}
"""More of them an image: of 600 proposals, 512 are pooled at a time, twice."""


@pytest.mark.parametrize(("images", "limit"), [(1, 10), (1, 1000), (6, 1000)])
@pytest.mark.parametrize("name", KINDS)
def test_synchronisations_of_detecting(name, images, limit):
    with FakeCuda() as gpu, torch.no_grad():
        detector = build(KINDS[name]).eval().to(CUDA)
        given = crowd(KINDS[name], images, 3).to(CUDA)
        gpu.reset()
        found = detector.detect(given, Keep(score=0.001, nms=0.9, max_per_patch=limit))
        assert not gpu.copies
        assert gpu.waits.total() <= DETECTING + images * IN_BLOCKS.get(name, 0), gpu.waits
        # some boxes are as good as others: a network that has not learnt finds many
        assert sum(len(one.scores) for one in found) > (3 * images if limit > 10 else 1)
        gpu.reset()
        windows = [("a.png", (1000.0, 1000.0))] * images
        fetched = check_detections(detector, found, windows, classes=2)
        assert gpu.waits.total() <= 4, gpu.waits
    assert not any(one.boxes.is_cuda for one in fetched)


@every_kind
def test_synchronisations_of_proposing(kind):
    with FakeCuda() as gpu, torch.no_grad():
        detector = build(kind).eval().to(CUDA)
        if not isinstance(detector, Proposes):
            return
        given = crowd(kind, 6, 3).to(CUDA)
        gpu.reset()
        detector.propose(given, 100)
        assert not gpu.copies
        assert gpu.waits.total() <= 3, gpu.waits


def test_all_stages_wait_for_their_matches_once():
    with FakeCuda() as gpu:
        kind = KINDS["sparse-rcnn"]
        detector = build(kind, "model.stages=6").to(CUDA)
        given = crowd(kind, 6, 30).to(CUDA)
        gpu.reset()
        sum(detector(given, shuffle()).values()).backward()
    assert not gpu.copies
    matching = [count for line, count in gpu.waits.items() if "hungarian" in line]
    assert matching == [1]
    assert gpu.waits.total() == 1 + 6  # and once a stage, to pool by level


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
