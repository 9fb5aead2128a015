"""What every detector must do, whatever its kind: a new one joins by a line in ``KINDS``."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sodkit.data.samples.loader import Batches
from sodkit.data.samples.normalise import normalised
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.engine.checkpoint import load_checkpoint, save_checkpoint
from sodkit.geometry.rotated import xyxy_to_obb
from sodkit.models.detector import Detector
from sodkit.settings import Keep
from tests.engine.kinds import (
    CLASSES,
    GIVEN,
    LOW,
    batch,
    build,
    every_kind,
    none,
    shuffle,
    some,
    thin,
)

CPU = torch.device("cpu")


@every_kind
def test_it_is_a_detector(kind):
    detector = build(kind)
    assert isinstance(detector, Detector)
    assert detector.boxes == kind.load().boxes


@every_kind
@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_losses_are_finite_scalars_and_reach_every_parameter(kind, given):
    detector = build(kind)
    losses = detector(given(kind), shuffle())
    assert losses
    for name, value in losses.items():
        assert value.shape == (), name
        assert torch.isfinite(value), name
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


@every_kind
def test_the_shuffle_decides(kind):
    def run(number):
        losses = build(kind)(batch(some(kind), none(kind)), shuffle(number))
        return [value.item() for value in losses.values()]

    assert run(0) == run(0)


@every_kind
def test_detections_are_sorted_and_in_pixels_of_the_patch(kind):
    detector = build(kind).eval()
    sizes = ((96, 128), (50, 64))
    found = detector.detect(batch(none(kind), none(kind), sizes=sizes), LOW)
    for (height, width), image in zip(sizes, found, strict=True):
        assert len(image.boxes) == len(image.scores) == len(image.labels) <= LOW.max_per_patch
        assert (image.scores.diff() <= 0).all()
        assert (image.scores > LOW.score).all()
        assert set(image.labels.tolist()) <= {0, 1}
        assert not image.boxes.requires_grad
        assert image.boxes.dtype == image.scores.dtype == torch.float32
        centre = (image.boxes[:, :2] + image.boxes[:, 2:]) / 2
        assert (centre >= -1e-3).all()
        assert (centre <= torch.tensor([width, height]) / 1.5 + 1e-3).all()
        assert (image.obb is not None) == (detector.boxes == "oriented")


@every_kind
def test_keep_is_heeded(kind):
    detector = build(kind).eval()
    images = batch(none(kind))
    (few,) = detector.detect(images, replace_keep(max_per_patch=3))
    (many,) = detector.detect(images, replace_keep(nms=1.0, max_per_patch=10**6))
    (fewer,) = detector.detect(images, replace_keep(nms=0.0, max_per_patch=10**6))
    (sure,) = detector.detect(images, replace_keep(score=0.999))
    assert len(few.scores) <= 3
    assert len(fewer.scores) <= len(many.scores)
    assert detector.suppresses or torch.equal(fewer.boxes, many.boxes)
    assert len(sure.scores) == 0
    assert sure.boxes.shape == (0, 4)


def replace_keep(**values: float) -> Keep:
    return LOW.model_copy(update=values)


@every_kind
def test_each_image_gives_what_it_gives_alone(kind):
    detector = build(kind).eval()
    sizes = ((96, 128), (64, 96))
    both = batch(none(kind), none(kind), sizes=sizes)
    together = detector.detect(both, LOW)
    for number, size in enumerate(sizes):
        alone = replace(
            both,
            images=both.images[number : number + 1],
            sizes=(size,),
            scales=((1.5, 1.5),),
            targets=(),
        )
        (found,) = detector.detect(alone, LOW)
        torch.testing.assert_close(found.scores, together[number].scores, atol=1e-4, rtol=1e-3)


@every_kind
def test_bfloat16(kind):
    detector = build(kind)
    images = batch(some(kind), none(kind))
    exact = detector(images, shuffle())
    with torch.autocast("cpu", torch.bfloat16):
        rough = detector(images, shuffle())
    assert all(value.dtype == torch.float32 for value in rough.values())
    if kind.by_prediction:  # of two queries that cost nearly the same, rounding may choose another
        exact, rough = ({"all": sum(losses.values())} for losses in (exact, rough))
    for name, value in rough.items():
        assert value.item() == pytest.approx(exact[name].item(), rel=0.1, abs=0.05), name
    detector.eval()
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = detector.detect(batch(none(kind)), LOW)
    assert found.boxes.dtype == found.scores.dtype == torch.float32


@every_kind
def test_saved_and_loaded_it_detects_the_same_to_the_bit(kind, tmp_path):
    detector, path = build(kind).eval(), tmp_path / "a.safetensors"
    save_checkpoint(path, detector, kind.load(), CLASSES)
    with thin():
        loaded = load_checkpoint(path, CPU)
    assert loaded.recipe.model.kind == kind.load().model.kind
    assert loaded.categories == CLASSES
    images = batch(none(kind))
    (before,), (after,) = detector.detect(images, LOW), loaded.detector.detect(images, LOW)
    assert torch.equal(before.boxes, after.boxes)
    assert torch.equal(before.scores, after.scores)


@every_kind
def test_losses_are_the_same_at_any_number_of_workers(kind, data):
    annotations, folder = data
    if kind.load().boxes == "oriented":
        annotations = replace(annotations, obb=xyxy_to_obb(annotations.xyxy))
    recipe, detector = kind.load("input.scale=1.0"), build(kind)
    before = {name: value.clone() for name, value in detector.state_dict().items()}

    def losses(workers: int) -> list[list[float]]:
        detector.load_state_dict(before)
        samples = TrainingSet(annotations, folder, recipe.input, seed=0)
        loader = Batches(samples, batch=3, seed=0, workers=workers)
        batches = (normalised(b, recipe.input) for b in loader.epoch(0))
        return [[v.item() for v in detector(b, shuffle()).values()] for b in batches]

    alone = losses(0)
    assert len(alone) == 2
    assert losses(1) == losses(2) == alone
