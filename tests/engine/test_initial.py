"""A run that begins with the weights of another one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.records import Annotations, Category
from sodkit.engine.build import new_detector
from sodkit.engine.checkpoint import save_checkpoint
from sodkit.engine.initial import take_weights
from sodkit.engine.train import train
from sodkit.errors import ModelError
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe

CPU = torch.device("cpu")
TWO = (Category(3, "square"), Category(5, "other"))

OF_CLASSES = {
    "roi.cls.weight", "roi.cls.bias", "roi.reg.weight", "roi.reg.bias",
    "imitation.exemplars.features", "imitation.exemplars.pushed",
}  # fmt: skip


def made(recipe: Recipe, classes: int, seed: int) -> DetectorModule:
    return new_detector(recipe.model_copy(update={"seed": seed}), classes, CPU)


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (("square", "other"), set()),
        (("other", "square"), OF_CLASSES),
        (("a", "b", "c"), OF_CLASSES),
    ],
)
def test_what_belongs_to_other_classes_is_left(
    recipe: Recipe, tmp_path: Path, names: tuple[str, ...], left: set[str]
) -> None:
    """As many classes give the same shapes, and still other rows."""
    source, detector = made(recipe, len(names), 1), made(recipe, 2, 2)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, source, recipe, tuple(Category(k, n) for k, n in enumerate(names)))
    found = take_weights(path, detector, recipe, TWO)
    assert {*found.left.get("of other classes", ())} == left
    assert {*found.left} <= {"of other classes"}
    for name, value in detector.state_dict().items():
        wanted = before if name in left else source.state_dict()
        assert torch.equal(value, wanted[name]), name
    said = found.sentences(path)
    assert said[0] == f"{len(found.taken)} of {len(before)} tensors are taken from {path}"
    assert len(said) == 1 + bool(left)


def test_every_reason_is_said(recipe: Recipe, tmp_path: Path) -> None:
    """From CFINet with other channels to Faster R-CNN: the backbone fits, little else does."""
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, made(recipe, 2, 1), recipe, TWO)
    other = load_recipe(
        "faster-rcnn-r50-soda-d",
        ["model.backbone.name=resnet18", "model.backbone.weights=null", "model.fpn.channels=16",
         "model.roi.hidden=32"],
    )  # fmt: skip
    found = take_weights(path, made(other, 2, 2), other, TWO)
    assert "backbone.layer4.1.conv2.weight" in found.taken
    assert "rpn.conv.weight" in found.left["not in the checkpoint"]
    assert "crpn.coarse_reg.bias" in found.left["unknown to the recipe"]
    assert any(name.startswith("fpn.") for name in found.left["of another shape"])
    said = found.sentences(path)
    assert said[1].startswith("not taken, ")
    assert len(said) == 1 + len(found.left)


def test_nothing_that_fits(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, torch.nn.Linear(2, 2), recipe, TWO)
    with pytest.raises(ModelError, match="none of its 2 tensors fits"):
        take_weights(path, made(recipe, 2, 0), recipe, TWO)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="not a safetensors file"):
        take_weights(path, made(recipe, 2, 0), recipe, TWO)


def test_a_run_begins_there_and_is_resumed_without_it(
    recipe: Recipe, data: tuple[Annotations, Path], tmp_path: Path
) -> None:
    path, said = tmp_path / "a.safetensors", list[str]()
    source = made(recipe, 2, 1)
    save_checkpoint(path, source, recipe, TWO)
    names = ("backbone", "fpn", "crpn", "roi", "imitation.feat2embed.fc_enc")
    schedule = recipe.schedule.model_copy(update={"freeze": names, "epochs": 1})
    still = recipe.model_copy(update={"schedule": schedule})
    annotations, folder = data
    trained = train(
        still, annotations, folder, tmp_path / "run", device=CPU, workers=0, init=path,
        say=said.append,
    )  # fmt: skip
    assert torch.equal(
        trained.state_dict()["roi.cls.weight"], source.state_dict()["roi.cls.weight"]
    )
    assert said == [f"{len(source.state_dict())} of {len(source.state_dict())} "
                    f"tensors are taken from {path}"]  # fmt: skip
    path.unlink()
    longer = schedule.model_copy(update={"epochs": 2})
    train(
        replace_schedule(still, longer), annotations, folder, tmp_path / "run", device=CPU,
        workers=0, init=path, resume=True, say=said.append,
    )  # fmt: skip
    assert len(said) == 1


def replace_schedule(recipe: Recipe, schedule: object) -> Recipe:
    return recipe.model_copy(update={"schedule": schedule})
