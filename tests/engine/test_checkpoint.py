from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sodkit.data.records import Category
from sodkit.engine import checkpoint
from sodkit.engine.checkpoint import (
    Progress,
    load_checkpoint,
    load_state,
    save_checkpoint,
    save_state,
)
from sodkit.engine.train import make_optimizer, note_scale, restore_scale
from sodkit.errors import ModelError, SodkitError
from sodkit.models.zoo import build
from sodkit.settings import Recipe

CPU = torch.device("cpu")
CLASSES = (Category(3, "square"), Category(5, "naïve name"))


@pytest.fixture
def path(recipe: Recipe, tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "a.safetensors", build(recipe.model, 2), recipe, CLASSES)
    return tmp_path / "a.safetensors"


def test_round_trip(path: Path, recipe: Recipe) -> None:
    loaded = load_checkpoint(path, CPU)
    assert loaded.categories == CLASSES
    assert loaded.recipe.model.crpn == recipe.model.crpn
    assert not loaded.detector.training
    with safe_open(path, framework="pt") as file:
        for name, value in loaded.detector.state_dict().items():
            assert torch.equal(value, file.get_tensor(name))


def test_test_settings_can_change(path: Path) -> None:
    loaded = load_checkpoint(path, CPU, {"nms": 0.3, "max_per_patch": None})
    assert loaded.recipe.model.roi.nms == 0.3
    assert loaded.recipe.model.roi.max_per_patch == 100


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not found"):
        load_checkpoint(tmp_path / "absent.safetensors", CPU)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a pickle", b"\xff" * 100])
def test_other_files(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_checkpoint(tmp_path / "x.safetensors", CPU)


def test_foreign_safetensors(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match="not a sodkit checkpoint"):
        load_checkpoint(tmp_path / "x.safetensors", CPU)


def test_broken_metadata(tmp_path: Path) -> None:
    metadata = {"recipe": '{"name": "x", "new_setting": 1}', "categories": "[]", "sodkit": "9.9"}
    save_file({"w": torch.zeros(1)}, tmp_path / "x.safetensors", metadata=metadata)
    with pytest.raises(ModelError, match=r"written by sodkit 9\.9"):
        load_checkpoint(tmp_path / "x.safetensors", CPU)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_tensors_that_do_not_fit_are_named(path: Path, change: str) -> None:
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    key = next(iter(tensors))
    if change == "missing":
        del tensors[key]
    elif change == "extra":
        key = "surprise"
        tensors[key] = torch.zeros(1)
    else:
        tensors[key] = torch.zeros(1, 2, 3)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ModelError, match=key):
        load_checkpoint(path, CPU)


def test_state_of_nothing(recipe: Recipe, path: Path) -> None:
    detector = build(recipe.model, 2)
    optimizer = make_optimizer(detector, recipe.schedule)
    with pytest.raises(ModelError, match="not a training state"):
        load_state(path, detector, optimizer)


def test_no_upper_end_survives(recipe: Recipe, tmp_path: Path) -> None:
    """JSON has no infinity of its own."""
    areas = {"all": (0.0, float("inf"))}
    endless = recipe.model_copy(
        update={"evaluation": recipe.evaluation.model_copy(update={"areas": areas})}
    )
    save_checkpoint(tmp_path / "a.safetensors", build(recipe.model, 2), endless, CLASSES)
    assert load_checkpoint(tmp_path / "a.safetensors", CPU).recipe.evaluation.areas == areas


def test_moments_of_another_optimiser(recipe: Recipe, tmp_path: Path) -> None:
    kinds = ("sgd", "adamw")
    first, second = (recipe.schedule.model_copy(update={"optimizer": kind}) for kind in kinds)
    detector = build(recipe.model, 2)
    save_state(tmp_path / "s.safetensors", detector, make_optimizer(detector, first), Progress())
    with pytest.raises(ModelError, match="trained with SGD, the recipe now says AdamW"):
        load_state(tmp_path / "s.safetensors", detector, make_optimizer(detector, second))


def test_a_full_disk_is_said(path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    before = path.read_bytes()
    with pytest.raises(SodkitError, match="cannot be written") as error:
        save_checkpoint(path, build(recipe.model, 2), recipe, CLASSES)
    assert "disk" in (error.value.hint or "")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_loss_scale_goes_on_where_it_was() -> None:
    off = torch.amp.GradScaler("cpu", enabled=False)
    done = Progress(scale=1024.0, growth=7)
    assert note_scale(restore_scale(off, done), done) == done
    on = torch.amp.GradScaler("cpu", enabled=True)
    assert note_scale(restore_scale(on, done), Progress()) == done
