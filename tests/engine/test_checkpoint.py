from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sodkit.config import builtin_names, load_recipe
from sodkit.data.records import Category
from sodkit.engine import checkpoint
from sodkit.engine.build import without_weights
from sodkit.engine.checkpoint import (
    load_checkpoint,
    load_state,
    save_checkpoint,
    save_state,
)
from sodkit.engine.metadata import Progress
from sodkit.engine.optimizer import make_optimizer
from sodkit.errors import ModelError, SodkitError
from sodkit.models.detector import DetectorModule
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


def test_loading_draws_no_initial_weights(path: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    load_checkpoint(path, CPU)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", builtin_names())
def test_all_that_a_detector_holds_is_in_its_checkpoint(name: str) -> None:
    """What is not would be left without values by loading."""
    with torch.device("meta"):
        detector = build(without_weights(load_recipe(name).model), 2)
    saved = detector.state_dict().keys()
    assert saved == dict([*detector.named_parameters(), *detector.named_buffers()]).keys()
    attributes = [value for module in detector.modules() for value in vars(module).values()]
    assert not [value for value in attributes if isinstance(value, torch.Tensor)]


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


def with_metadata(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a file's metadata in place; its tensors stay."""
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        content = json.loads(file.metadata()["sodkit"])
    changed = change(content)
    text = json.dumps(content if changed is None else changed)
    save_file(tensors, path, metadata={"sodkit": text})


def setting(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Set ``a.b`` in metadata."""

    def change(content: dict[str, Any]) -> None:
        *parents, last = key.split(".")
        for parent in parents:
            content = content[parent]
        content[last] = value

    return change


def too_large(content: dict[str, Any]) -> None:
    """Ask for more weights than numbers can count."""
    for key in ("pool", "hidden"):
        setting(f"recipe.model.roi.{key}", 10**6)(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting("recipe", [1]), r"recipe: .*found \[1\]"),
        (setting("recipe.new_setting", 1), r"recipe\.new_setting: unknown key \(found 1\)"),
        (
            setting("recipe.schedule.epochs", "12"),
            r'recipe\.schedule\.epochs: expected a valid integer, found "12"',
        ),
        (
            setting("recipe.schedule.lr", float("nan")),
            r"recipe\.schedule\.lr: expected a finite number, found NaN",
        ),
        (too_large, "its recipe cannot be built"),
        (setting("recipe.model.fpn.channels", 10**13), "channels: expected less than or equal"),
        (setting("categories", {"a": 1}), "categories: .*found"),
        (setting("categories", []), "categories: "),
        (setting("categories", [[3, "a", 1]]), r"categories\[0\]"),
        (
            setting("categories", [[3, "a"], ["4", "b"]]),
            r'categories\[1\]\[0\]: expected a valid integer, found "4"',
        ),
        (setting("categories", [[3, "a"], [4.5, "b"]]), r"categories\[1\]\[0\]: .*found 4\.5"),
        (setting("categories", [[3, "a"], [10**30, "b"]]), r"categories\[1\]\[0\]"),
        (setting("categories", [[3, "a"], [4, 7]]), r"categories\[1\]\[1\]: .*found 7"),
        (setting("categories", [[3, "a"], [4, ""]]), r"categories\[1\]\[1\]"),
        (setting("categories", [[3, "a"], [4, "a"]]), "categories: 'a' occurs twice"),
        (setting("categories", [[3, "a"], [3, "b"]]), "categories: 3 occurs twice"),
        (setting("version", 7), "version: expected a valid string, found 7"),
        (setting("format", 1), r"in format 1; sodkit .* reads format 2"),
        (setting("format", "1"), "in format '1'; sodkit"),
        (setting("kind", ["state"]), "kind: expected 'checkpoint', found"),
        (setting("kind", "state"), "is a training state of sodkit, not a sodkit checkpoint"),
        (lambda content: content.pop("recipe") and None, "recipe: is missing"),
        (lambda content: [content], "not a sodkit checkpoint"),
        (lambda content: 3, "not a sodkit checkpoint"),
    ],
)
def test_wrong_metadata_are_named(
    path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with_metadata(path, change)
    with pytest.raises(ModelError, match=message):
        load_checkpoint(path, CPU)


def test_metadata_of_the_first_format(path: Path) -> None:
    """Of several keys, whose order changed from file to file."""
    metadata = {"recipe": "{}", "categories": "[]", "sodkit": "0.0.9"}
    save_file({"w": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(ModelError, match=r"written by sodkit 0\.0\.9 in format 0; "):
        load_checkpoint(path, CPU)


def test_equal_content_gives_equal_bytes(recipe: Recipe, tmp_path: Path) -> None:
    detector = build(recipe.model, 2)
    optimizer = make_optimizer(detector, recipe.schedule)
    for name in "ab":
        save_checkpoint(tmp_path / f"{name}.safetensors", detector, recipe, CLASSES)
        save_state(tmp_path / f"state-{name}.safetensors", detector, optimizer, Progress(best=0.5))
    for prefix in ("", "state-"):
        one, other = (tmp_path / f"{prefix}{name}.safetensors" for name in "ab")
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_umask_says_who_may_read(recipe: Recipe, tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        save_checkpoint(tmp_path / "a.safetensors", build(recipe.model, 2), recipe, CLASSES)
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "type"])
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
    elif change == "type":
        tensors[key] = tensors[key].half()
    else:
        tensors[key] = torch.zeros(1, 2, 3)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ModelError, match=key):
        load_checkpoint(path, CPU)


def test_state_of_nothing(recipe: Recipe, path: Path) -> None:
    detector = build(recipe.model, 2)
    optimizer = make_optimizer(detector, recipe.schedule)
    with pytest.raises(ModelError, match="is a sodkit checkpoint, not a training state"):
        load_state(path, detector, optimizer)
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="not a training state of sodkit: no metadata"):
        load_state(path, detector, optimizer)


@pytest.fixture
def state(recipe: Recipe, tmp_path: Path) -> tuple[Path, DetectorModule, torch.optim.Optimizer]:
    """The state of a detector after a step of AdamW."""
    adamw = recipe.schedule.model_copy(update={"optimizer": "adamw"})
    detector = build(recipe.model, 2)
    optimizer = make_optimizer(detector, adamw)
    for parameter in detector.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    save_state(tmp_path / "state.safetensors", detector, optimizer, Progress(epoch=3, best=0.5))
    return tmp_path / "state.safetensors", detector, optimizer


State = tuple[Path, DetectorModule, torch.optim.Optimizer]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (setting("progress", [3]), "progress: .*found"),
        (setting("progress.epoch", "3"), r'progress\.epoch: expected a valid integer, found "3"'),
        (setting("progress.epoch", -1), r"progress\.epoch: expected .* equal to 0, found -1"),
        (setting("progress.epoch", 1.5), r"progress\.epoch: .*found 1\.5"),
        (setting("progress.epoch", None), r"progress\.epoch: .*found null"),
        (setting("progress.scale", 0), r"progress\.scale: expected greater than 0, found 0"),
        (setting("progress.best", float("nan")), r"progress\.best: .*finite number, found NaN"),
        (setting("progress.unvalidated", {"lr": "x"}), r"progress\.unvalidated\.lr: .*found \"x\""),
        (setting("progress.epochs", 3), r"progress\.epochs: unknown key"),
        (setting("optimizer", None), "optimizer: expected a valid string, found null"),
        (setting("optimizer", "Lion"), "trained with Lion, the recipe now says AdamW"),
        (lambda content: content.pop("progress") and None, "progress: is missing"),
    ],
)
def test_wrong_metadata_of_a_state(
    state: State, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with_metadata(state[0], change)
    with pytest.raises(ModelError, match=message):
        load_state(*state)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("exp_avg", None, "missing: .*exp_avg"),
        ("surprise", torch.zeros(1), "unknown: .*surprise"),
        ("exp_avg", torch.zeros(1), r"exp_avg has shape \(1,\), expected"),
        ("step", torch.zeros(2), r"step has shape \(2,\), expected \(\)"),
        ("step", torch.zeros((), dtype=torch.int64), "step has type int64, expected float32"),
    ],
)
def test_moments_that_do_not_fit(
    state: State, name: str, value: torch.Tensor | None, message: str
) -> None:
    with safe_open(state[0], framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    prefix = f"optimizer.{next(name for name, _ in state[1].named_parameters())}"
    if value is None:
        del tensors[f"{prefix}.{name}"]
    else:
        tensors[f"{prefix}.{name}"] = value
    save_file(tensors, state[0], metadata=metadata)
    with pytest.raises(ModelError, match=f"moments do not fit their recipe: .*{message}"):
        load_state(*state)


def test_a_state_comes_back(state: State) -> None:
    assert load_state(*state) == Progress(epoch=3, best=0.5)


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


@pytest.mark.parametrize("steps", [-1.0, 1e30, float("nan"), float("inf")])
def test_a_number_of_steps_that_cannot_be(state: State, steps: float) -> None:
    path, detector, optimizer = state
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    name = next(key for key in tensors if key.endswith(".step"))
    tensors[name] = torch.tensor(steps)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ModelError, match="is no number of steps"):
        load_state(path, detector, optimizer)
