"""A detector that is not ours: trained, saved, loaded, asked, and refused where it is wrong."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import sodkit
from sodkit.config import load_recipe
from sodkit.data.batches import Batch, PatchDetections
from sodkit.engine.build import as_detector, new_detector
from sodkit.engine.check_output import check_detections, check_losses
from sodkit.engine.checkpoint import load_checkpoint
from sodkit.engine.predict import predict_images
from sodkit.engine.predict_options import PredictOptions
from sodkit.errors import ModelError, UsageError
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, Recipe

CPU = torch.device("cpu")


class Mine(nn.Module):
    """A detector without backbone, pyramid or anchors: it finds one box in the middle."""

    boxes = "horizontal"

    def __init__(self, classes: int = 2, scale: float = 1.0) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.tensor(0.1 * scale))
        self.classes = classes

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        return {"loss_mine": (self.score - 0.9) ** 2 + 0 * batch.images.mean()}

    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        score = self.score.detach().reshape(1)
        box = torch.tensor([[8.0, 8.0, 24.0, 24.0]])
        return [PatchDetections(box, score, torch.zeros(1).long()) for _ in batch.sizes]


def make(classes: int, scale: float = 1.0) -> Mine:
    return Mine(classes, scale)


def test_it_is_trained_saved_and_used(recipe: Recipe, data: Any, tmp_path: Path) -> None:
    annotations, images = data
    mine = Mine()
    trained = sodkit.train(
        recipe, annotations, images, tmp_path, device=CPU, workers=0, detector=mine
    )
    assert trained is mine
    assert mine.score.item() > 0.1
    path = tmp_path / "checkpoints" / "last.safetensors"
    with pytest.raises(ModelError, match=r"from outside.*not made here"):
        load_checkpoint(path, CPU)
    loaded = load_checkpoint(path, CPU, detector=Mine())
    assert loaded.recipe.model.kind == "outside"
    assert loaded.detector.score.item() == mine.score.item()
    found = predict_images(
        loaded.detector, loaded.recipe, annotations.images, images, device=CPU, classes=2,
        options=replace(PredictOptions.of(loaded.recipe), keep=Keep(score=0.0)),
    )  # fmt: skip
    assert len(found) >= len(annotations.images)


def test_a_recipe_names_a_factory(recipe: Recipe) -> None:
    name = f"{__name__}:make"
    own = load_recipe(
        "cfinet-r18-demo",
        ["model.kind=outside", f"model.factory={name}", "model.options={scale: 3}"],
    )
    detector = new_detector(own, 2, CPU)
    assert type(detector).__name__ == "Mine"
    assert detector.score.item() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.factory=no_such_module:make"], "cannot be imported"),
        ([f"model.factory={__name__}:absent"], "cannot be imported"),
        ([f"model.factory={__name__}:make", "model.options={size: 1}"], "cannot be called"),
        ([], "names no factory"),
    ],
)
def test_factories_that_cannot_be_used(settings: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        new_detector(load_recipe("cfinet-r18-demo", ["model.kind=outside", *settings]), 2, CPU)


def test_loading_imports_nothing(tmp_path: Path, recipe: Recipe, data: Any) -> None:
    annotations, images = data
    own = load_recipe(
        "cfinet-r18-demo",
        ["model.kind=outside", f"model.factory={__name__}:make", "schedule.epochs=1"],
    )
    sodkit.train(own, annotations, images, tmp_path / "run", device=CPU, workers=0)
    before = set(sys.modules)
    with pytest.raises(ModelError, match="factory: "):
        load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors", CPU)
    assert set(sys.modules) == before


@pytest.mark.parametrize("thing", [nn.Linear(1, 1), object()])
def test_what_is_no_detector(thing: Any) -> None:
    with pytest.raises(ModelError, match="detector"):
        as_detector(thing)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (torch.tensor(1.0), "returns Tensor instead of losses"),
        ({}, "returns dict instead"),
        ({"a": torch.ones(2)}, r"'a' is no scalar: \(2,\)"),
        ({"a": 1.0}, "'a' is no scalar: float"),
    ],
)
def test_losses_that_are_none(losses: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        check_losses(Mine(), losses)
    assert error.value.where == "Mine.forward"


GOOD = PatchDetections(torch.tensor([[1.0, 2.0, 9.0, 9.0]]), torch.tensor([0.5]), torch.tensor([1]))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "returns 0 results for 1 images"),
        ([GOOD.boxes], "returns Tensor instead of PatchDetections"),
        ([replace(GOOD, boxes=torch.ones(2, 4))], r"a.png: boxes have the shape \(2, 4\)"),
        ([replace(GOOD, scores=torch.tensor([torch.nan]))], r"a.png: scores\[0\] is not finite"),
        ([replace(GOOD, labels=torch.tensor([2]))], "a.png: the label 2 is none of 0 to 1"),
        ([replace(GOOD, labels=torch.tensor([-1]))], "the label -1 is none"),
        ([replace(GOOD, labels=torch.tensor([0.5]))], "labels are torch.float32"),
        (
            [replace(GOOD, boxes=torch.tensor([[1.0, 2.0, 99.0, 9.0]]))],
            r"a.png: box 0 \(1, 2, 99, 9\) lies outside of its 20 x 10 px",
        ),
    ],
)
def test_detections_that_cannot_be(found: Any, message: str) -> None:
    check_detections(Mine(), [GOOD], [("a.png", (20, 10))], classes=2)
    with pytest.raises(ModelError, match=message) as error:
        check_detections(Mine(), found, [("a.png", (20, 10))], classes=2)
    assert error.value.where == "Mine.detect"
