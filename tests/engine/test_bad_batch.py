"""A loss that is not finite: its batch is kept, and the step is run again to the same losses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from sodkit.data.batches import Batch
from sodkit.data.records import Annotations, Category
from sodkit.data.samples.loader import Batches
from sodkit.data.samples.normalise import normalised
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.engine.bad_batch import NAME, replay, save_bad_batch
from sodkit.engine.build import new_detector
from sodkit.engine.train import train
from sodkit.engine.train_step import seeded
from sodkit.errors import ModelError, SodkitError
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe

Data = tuple[Annotations, Path]
CPU = torch.device("cpu")


@pytest.fixture
def batch(recipe: Recipe, data: Data) -> Batch:
    dataset = TrainingSet(*data, recipe.input, seed=0)
    batches = Batches(dataset, batch=3, seed=0, workers=0)
    return next(batches.epoch(0))


@pytest.fixture
def detector(recipe: Recipe) -> DetectorModule:
    return new_detector(recipe, 2, CPU)


def kept(recipe: Recipe, detector: DetectorModule, batch: Batch, path: Path) -> dict[str, float]:
    """Save the batch with the losses that it has; return those."""
    torch_batch = normalised(batch, recipe.input)
    names = (Category(3, "square"), Category(5, "other"))
    state = {name: value.clone() for name, value in detector.state_dict().items()}
    losses = detector.train()(torch_batch, seeded(recipe.seed, 7, 2))
    detector.load_state_dict(state)  # the losses are those of a detector without exemplars
    found = {name: value.item() for name, value in losses.items()}
    found["loss"] = sum(found.values())
    save_bad_batch(path, detector, batch, recipe, names, step=7, place=2, losses=found)
    return found


def test_the_step_comes_out_the_same(
    recipe: Recipe, detector: DetectorModule, batch: Batch, tmp_path: Path
) -> None:
    losses = kept(recipe, detector, batch, tmp_path / NAME)
    found = replay(tmp_path / NAME, CPU)
    assert found.before == losses
    assert {name: found.now[name] for name in losses} == pytest.approx(losses, rel=1e-6)
    assert (found.step, found.image_ids) == (8, batch.image_ids)
    assert (found.weights, found.module, found.gradients) == ((), None, ())


def test_the_first_module_is_named(
    recipe: Recipe, detector: DetectorModule, batch: Batch, tmp_path: Path
) -> None:
    """Weights that are finite, and too large for what they are multiplied with."""
    with torch.no_grad():
        detector.get_parameter("fpn.lateral.1.weight").fill_(3e38)
    kept(recipe, detector, batch, tmp_path / NAME)
    found = replay(tmp_path / NAME, CPU)
    assert found.module == "fpn.lateral.1"
    assert found.weights == ()
    assert not math.isfinite(found.now["loss"])


def test_weights_that_were_spoilt_before(
    recipe: Recipe, detector: DetectorModule, batch: Batch, tmp_path: Path
) -> None:
    with torch.no_grad():
        detector.get_parameter("roi.reg.bias")[3] = math.nan
    kept(recipe, detector, batch, tmp_path / NAME)
    assert replay(tmp_path / NAME, CPU).weights == ("roi.reg.bias",)


def test_a_run_that_diverges_keeps_it(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    wild = recipe.schedule.model_copy(update={"lr": 1e12, "clip": None, "warmup": 0})
    with pytest.raises(SodkitError, match="not finite on the images with ids") as caught:
        train(recipe.model_copy(update={"schedule": wild}), *data, tmp_path, device=CPU, workers=0)
    assert f"sodkit train --replay {tmp_path}" in (caught.value.hint or "")
    found = replay(tmp_path / NAME, CPU)
    assert ", ".join(map(str, found.image_ids)) in caught.value.what
    assert not math.isfinite(found.before["loss"])
    assert not math.isfinite(found.now["loss"])


def test_files_that_are_something_else(
    recipe: Recipe, detector: DetectorModule, batch: Batch, data: Data, tmp_path: Path
) -> None:
    kept(recipe, detector, batch, tmp_path / NAME)
    whole = (tmp_path / NAME).read_bytes()
    for size in (0, 100, len(whole) // 2):
        (tmp_path / "cut.safetensors").write_bytes(whole[:size])
        with pytest.raises(ModelError, match="not a safetensors file"):
            replay(tmp_path / "cut.safetensors", CPU)
    with pytest.raises(ModelError, match="not found"):
        replay(tmp_path / "none.safetensors", CPU)
