"""The moving average of the weights, and runs that keep it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sodkit.data.records import Annotations
from sodkit.engine.average import Average, averaged, decay_at
from sodkit.engine.checkpoint import load_state
from sodkit.engine.optimizer import make_optimizer
from sodkit.engine.reports import StepReport
from sodkit.engine.train import train
from sodkit.errors import ModelError
from sodkit.models.detector import DetectorModule
from sodkit.models.zoo import build
from sodkit.settings import Recipe

Data = tuple[Annotations, Path]
CPU = torch.device("cpu")


class Killed(BaseException):
    """Stands for the end of the process."""


def with_schedule(recipe: Recipe, **values: object) -> Recipe:
    return recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update=values)})


def left_by(run: Path) -> dict[str, bytes]:
    files = [p for p in run.rglob("*") if p.is_file() and "tfevents" not in p.name]
    return {p.name: p.read_bytes() for p in files if p.name != "times.csv"}


def test_average_follows_its_formula_and_leaves_what_is_frozen() -> None:
    model = nn.Linear(2, 1).double()
    model.bias.requires_grad_(False)
    average, expected = Average(model, 0.5), model.weight.detach().clone()
    for updates in range(12):
        with torch.no_grad():
            model.weight += updates + 1
        average.update(updates)
        decay = min(0.5, (1 + updates) / (10 + updates))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    assert list(average.tensors) == ["weight"]
    torch.testing.assert_close(average.tensors["weight"], expected, rtol=1e-12, atol=0)


def test_a_warm_up_makes_the_share_of_new_weights_fall_by_e() -> None:
    """mmdetection's YOLOX: (1 - m) exp(-(n + 1) / 2000) + m with m = 1 - decay."""
    for updates in (0, 5, 1999, 10000, 10**6):
        share = (1 - 1e-4) * math.exp(-(updates + 1) / 2000) + 1e-4
        assert decay_at(1 - 1e-4, updates, 2000) == pytest.approx(1 - share, rel=1e-9)


def test_statistics_are_averaged_where_that_is_asked_for() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    average = Average(model, 0.5, statistics=True)
    statistics = {"1.running_mean", "1.running_var"}
    assert set(average.tensors) == {name for name, _ in model.named_parameters()} | statistics
    mean = model[1].running_mean.clone()
    model(torch.randn(3, 1, 4, 4) + 9)
    average.update(100)
    with averaged(average):
        inside = model[1].running_mean.clone()
    assert not torch.equal(model[1].running_mean, mean)
    torch.testing.assert_close(inside, (mean + model[1].running_mean) / 2)
    assert set(Average(model, 0.5).tensors) == set(average.tensors) - statistics


def test_the_average_takes_the_weights_place_and_gives_it_back() -> None:
    model = nn.Linear(3, 2)
    average = Average(model, 0.9)
    with torch.no_grad():
        model.weight += 1
    trained, mean = model.weight.detach().clone(), average.tensors["weight"].clone()
    inside: list[torch.Tensor] = []

    def fail() -> None:
        with averaged(average):
            inside.append(model.weight.detach().clone())
            raise Killed

    with pytest.raises(Killed):
        fail()
    assert torch.equal(inside[0], mean)
    assert torch.equal(model.weight, trained)
    assert torch.equal(average.tensors["weight"], mean)
    with averaged(None):
        assert torch.equal(model.weight, trained)


def test_it_is_what_is_validated_kept_and_returned(
    recipe: Recipe, data: Data, tmp_path: Path
) -> None:
    seen: list[dict[str, torch.Tensor]] = []

    def look(detector: DetectorModule) -> dict[str, float | None]:
        seen.append({name: value.clone() for name, value in detector.state_dict().items()})
        return {"AP": len(seen) / 10}

    recipe = with_schedule(recipe, epochs=1)
    plain = train(recipe, *data, tmp_path / "plain", device=CPU, workers=0)
    with_ema = with_schedule(recipe, ema=0.9)
    found = train(with_ema, *data, tmp_path / "run", device=CPU, workers=0, validate=look)
    kept = load_file(tmp_path / "run/checkpoints/last.safetensors")
    best = load_file(tmp_path / "run/checkpoints/best.safetensors")
    state = load_file(tmp_path / "run/checkpoints/state.safetensors")
    trained = dict(plain.named_parameters())
    for name, value in found.named_parameters():
        assert torch.equal(value, kept[name])
        assert torch.equal(value, best[name])
        assert torch.equal(value, seen[-1][name])
        assert torch.equal(value, state[f"average.{name}"])
        assert torch.equal(trained[name], state[f"weights.{name}"])  # trained as without it
    assert not torch.equal(found.roi.cls.weight, plain.roi.cls.weight)  # type: ignore[operator]
    assert (tmp_path / "run/losses.csv").read_text() == (tmp_path / "plain/losses.csv").read_text()


def test_killed_and_resumed_to_the_same_bytes(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    often = with_schedule(recipe, ema=0.9, save_steps=1, epochs=1)
    whole, run = tmp_path / "whole", tmp_path / "run"

    def metric(detector: DetectorModule) -> dict[str, float | None]:
        return {"AP": 1 / sum(float(p.detach().abs().sum()) for p in detector.parameters())}

    def kill(report: StepReport) -> None:
        if report.step == 2:
            raise Killed

    train(often, *data, whole, device=CPU, workers=0, validate=metric)
    with pytest.raises(Killed):
        train(often, *data, run, device=CPU, workers=0, validate=metric, on_step=kill)
    train(often, *data, run, device=CPU, workers=0, validate=metric, resume=True)
    assert left_by(run) == left_by(whole)


def test_a_state_without_it_is_refused(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    train(with_schedule(recipe, epochs=1), *data, tmp_path, device=CPU, workers=0)
    detector = build(recipe.model, 2)
    average = Average(detector, 0.9)
    with pytest.raises(ModelError, match=r"the average of the weights does not fit .*missing"):
        load_state(
            tmp_path / "checkpoints/state.safetensors", detector,
            make_optimizer(detector, recipe.schedule), average.tensors,
        )  # fmt: skip
