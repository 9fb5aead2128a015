from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sodkit.data.batches import Batch, PatchDetections
from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations
from sodkit.engine import checkpoint
from sodkit.engine.log import RunLog
from sodkit.engine.reports import StartReport, StepReport
from sodkit.engine.run_folder import checkpoints_in
from sodkit.engine.train import train
from sodkit.errors import DataError, SodkitError, UsageError
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, Recipe
from sodkit.settings.two_stage import OrientedBox

Data = tuple[Annotations, Path]
CPU = torch.device("cpu")


def weights(detector: DetectorModule) -> dict[str, torch.Tensor]:
    return detector.state_dict()


def assert_same(one: DetectorModule, other: DetectorModule) -> None:
    for name, value in weights(one).items():
        assert torch.equal(value, weights(other)[name]), name


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    return recipe.model_copy(
        update={"schedule": recipe.schedule.model_copy(update={"epochs": epochs})}
    )


def test_leaves_recipe_logs_and_checkpoints(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    seen: list[StepReport] = []
    train(recipe, *data, tmp_path / "run", device=CPU, workers=0, on_step=seen.append)
    names = {str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").rglob("*.*")}
    assert {
        "recipe.yaml",
        "losses.csv",
        "metrics.csv",
        "checkpoints/last.safetensors",
        "checkpoints/state.safetensors",
    } <= names
    assert [r.step for r in seen] == list(range(6))
    with (tmp_path / "run" / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {
        "loss_coarse_reg", "loss_fine_cls", "loss_fine_reg", "loss_cls", "loss_reg",
        "loss_imitation", "loss",
    } <= set(rows[0])  # fmt: skip
    parts = [float(v) for k, v in rows[0].items() if k.startswith("loss_")]
    assert float(rows[0]["loss"]) == pytest.approx(sum(parts), rel=1e-5)


def test_training_lowers_the_loss(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    seen: list[StepReport] = []
    longer = with_epochs(recipe, 8)
    train(longer, *data, tmp_path / "run", device=CPU, workers=0, on_step=seen.append)
    losses = [r.losses["loss"] for r in seen]
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def test_resuming_goes_the_way_it_would_have_gone(
    recipe: Recipe, data: Data, tmp_path: Path
) -> None:
    whole = train(with_epochs(recipe, 3), *data, tmp_path / "a", device=CPU, workers=0)
    train(with_epochs(recipe, 2), *data, tmp_path / "b", device=CPU, workers=0)
    resumed = train(
        with_epochs(recipe, 3), *data, tmp_path / "b", device=CPU, workers=0, resume=True
    )
    assert_same(whole, resumed)
    for name in ("losses.csv",):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()


def test_rows_of_an_unfinished_epoch_are_written_anew(
    recipe: Recipe, data: Data, tmp_path: Path
) -> None:
    train(with_epochs(recipe, 1), *data, tmp_path, device=CPU, workers=0)
    before = (tmp_path / "losses.csv").read_text()
    with (tmp_path / "losses.csv").open("a") as file:
        file.write("2" + ",9" * before.splitlines()[0].count(",") + "\n")
    train(with_epochs(recipe, 2), *data, tmp_path, device=CPU, workers=0, resume=True)
    after = (tmp_path / "losses.csv").read_text()
    assert after.startswith(before)
    assert "2,9," not in after
    assert len(after.splitlines()) == 7


def test_workers_do_not_change_the_result(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    one = with_epochs(recipe, 1)
    alone = train(one, *data, tmp_path / "a", device=CPU, workers=0)
    shared = train(one, *data, tmp_path / "b", device=CPU, workers=2)
    assert_same(alone, shared)


def test_best_checkpoint_follows_the_metric(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    scores = iter([0.5, 0.4, None])
    train(
        with_epochs(recipe, 3), *data, tmp_path, device=CPU, workers=0,
        validate=lambda detector: {"AP": next(scores), "AP50": 0.1},
    )  # fmt: skip
    with (tmp_path / "metrics.csv").open() as file:
        assert [r["AP"] for r in csv.DictReader(file)] == ["0.5", "0.4", ""]
    best, last = (tmp_path / "checkpoints" / f"{n}.safetensors" for n in ("best", "last"))
    assert best.read_bytes() != last.read_bytes()


def validated(detector: DetectorModule) -> dict[str, float | None]:
    """A metric that follows from the weights, the second epoch's below the first's."""
    total = sum(float(p.detach().double().abs().sum()) for p in detector.parameters())
    return {"AP": 1 / total, "AP_eS": total}


def left_by(run: Path) -> dict[str, bytes]:
    """What a run leaves, but for its seconds."""
    files = [*(run / "checkpoints").iterdir(), run / "metrics.csv", run / "losses.csv"]
    return {path.name: path.read_bytes() for path in files}


def test_a_validation_that_fails_costs_no_epoch(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    """Whatever ends it, in whichever epoch; killed between two writes, a run goes on as well."""
    kept = recipe.schedule.model_copy(update={"keep_every": 1})
    recipe = recipe.model_copy(update={"schedule": kept})
    train(recipe, *data, tmp_path / "whole", device=CPU, workers=0, validate=validated)
    undisturbed = left_by(tmp_path / "whole")
    assert {"epoch-0001.safetensors", "epoch-0002.safetensors"} < set(undisturbed)
    for epoch, failure in (
        (1, DataError("no image")),
        (2, KeyboardInterrupt()),
    ):
        run, calls = tmp_path / f"{epoch}{type(failure).__name__}", itertools.count(1)

        def fail(detector: DetectorModule) -> dict[str, float | None]:
            if next(calls) == epoch:  # noqa: B023
                raise failure  # noqa: B023
            return validated(detector)

        with pytest.raises((SodkitError, KeyboardInterrupt)):
            train(recipe, *data, run, device=CPU, workers=0, validate=fail)
        steps: list[StepReport] = []
        train(
            recipe, *data, run, device=CPU, workers=0, resume=True, validate=validated,
            on_step=steps.append,
        )  # fmt: skip
        assert [report.epoch for report in steps] == [1] * 3 * (2 - epoch)
        assert left_by(run) == undisturbed


def test_killed_between_any_two_writes(
    recipe: Recipe, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs write last, state, best, row, state, last, state, row, state."""
    train(recipe, *data, tmp_path / "whole", device=CPU, workers=0, validate=validated)
    undisturbed = left_by(tmp_path / "whole")
    for kill_at in (2, 3, 4, 6):
        run, writes = tmp_path / str(kill_at), iter(range(100))
        with monkeypatch.context() as patch:
            for place, name in (
                (checkpoint, "save_checkpoint"),
                (checkpoint, "save_state"),
                (RunLog, "epoch"),
            ):
                patch.setattr(place, name, killed_at(kill_at, writes, getattr(place, name)))
            with pytest.raises(KeyboardInterrupt):
                train(recipe, *data, run, device=CPU, workers=0, validate=validated)
        resume = (run / "checkpoints" / "state.safetensors").exists()
        train(recipe, *data, run, device=CPU, workers=0, resume=resume, validate=validated)
        assert left_by(run) == undisturbed, kill_at


def killed_at(kill_at: int, writes: Iterator[int], write: Callable[..., None]) -> object:
    def wrapped(*arguments: Any) -> None:
        if next(writes) == kill_at:
            raise KeyboardInterrupt
        write(*arguments)

    return wrapped


def test_only_some_epochs_are_validated(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    every = {"epochs": 3, "evaluate_every": 2, "keep_every": 2}
    schedule = recipe.schedule.model_copy(update=every)
    some = recipe.model_copy(update={"schedule": schedule})
    train(some, *data, tmp_path, device=CPU, workers=0, validate=validated)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], bool(row["AP_eS"])) for row in rows] == [
        ("1", False), ("2", True), ("3", True)
    ]  # fmt: skip
    kept = checkpoints_in(tmp_path)
    assert {file.name: epoch for file, epoch in kept.items()} == {
        "epoch-0002.safetensors": 2, "epoch-0003.safetensors": 3
    }  # fmt: skip
    second, last = (file.read_bytes() for file in kept)
    assert last == (tmp_path / "checkpoints" / "last.safetensors").read_bytes() != second


def test_images_are_looked_for_before_the_first_step(
    recipe: Recipe, data: Data, tmp_path: Path
) -> None:
    (data[1] / "4.png").unlink()
    steps: list[StepReport] = []
    with pytest.raises(DataError, match=r"4\.png: 1 of 5 images cannot be found\n--images"):
        train(recipe, *data, tmp_path / "run", device=CPU, workers=0, on_step=steps.append)
    assert not steps
    assert not (tmp_path / "run").exists()
    schedule = recipe.schedule.model_copy(update={"epochs": 1, "keep_empty": False})
    full = recipe.model_copy(update={"schedule": schedule})  # image 4 has no objects
    train(full, *data, tmp_path / "run", device=CPU, workers=0, on_step=steps.append)
    assert steps


def test_what_is_trained_is_told_first(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    told: list[StartReport | StepReport] = []
    for epochs in (1, 2):
        train(
            with_epochs(recipe, epochs), *data, tmp_path, device=CPU, workers=0,
            resume=epochs == 2, on_start=told.append, on_step=told.append,
        )  # fmt: skip
    first, second = (report for report in told if isinstance(report, StartReport))
    assert told[0] is first
    assert (first.images, first.objects, first.ignored, first.steps) == (5, 15, 1, 3)
    assert (first.epoch, second.epoch) == (0, 1)


def test_resuming_needs_no_pretrained_weights(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    """Their file may be gone, or named from another folder: the state has all weights."""
    train(with_epochs(recipe, 1), *data, tmp_path, device=CPU, workers=0)
    backbone = recipe.model.backbone.model_copy(update={"weights": "gone.pth"})
    model = recipe.model.model_copy(update={"backbone": backbone})
    named = recipe.model_copy(update={"model": model})
    train(named, *data, tmp_path, device=CPU, workers=0, resume=True)
    assert "gone.pth" in (tmp_path / "recipe.yaml").read_text()


def test_nothing_to_learn_is_said(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    annotations, folder = data
    ignored = replace(annotations, ignore=np.ones(len(annotations), np.bool_))
    thin = replace(annotations, xywh=annotations.xywh * [1, 1, 1, 0.001])
    for nothing in (ignored, thin, annotations.take(np.zeros(len(annotations), np.bool_))):
        with pytest.raises(DataError, match="no objects"):
            train(recipe, nothing, folder, tmp_path, device=CPU, workers=0)
    with pytest.raises(DataError, match="no images"):
        train(recipe, replace(nothing, images=()), folder, tmp_path, device=CPU, workers=0)


def test_divergence_names_the_images(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    wild = recipe.model_copy(
        update={"schedule": recipe.schedule.model_copy(update={"lr": 1e12, "clip": None})}
    )
    with pytest.raises(SodkitError, match="not finite on the images with ids"):
        train(wild, *data, tmp_path, device=CPU, workers=0)


def test_an_overflow_of_the_scaled_loss_costs_a_step_and_halves_the_scale(
    recipe: Recipe, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    monkeypatch.setattr("sodkit.engine.train.restore_scale", lambda *_: scaler)
    seen: list[torch.Tensor] = []

    def noted(detector: DetectorModule, losses: dict[str, torch.Tensor]) -> object:
        seen.append(torch.cat([p.detach().flatten() for p in detector.parameters()]))
        return losses

    monkeypatch.setattr("sodkit.engine.train_step.check_losses", noted)
    reports: list[StepReport] = []
    train(recipe, *data, tmp_path, device=CPU, workers=0, on_step=reports.append)
    assert all(np.isfinite(value) for report in reports for value in report.losses.values())
    assert scaler.get_scale() < 2.0**127
    assert torch.equal(seen[0], seen[1])  # the first step was left out


def test_an_unreadable_image_stops_training(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    (data[1] / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1\.png"):
        train(recipe, *data, tmp_path / "run", device=CPU, workers=1)


def test_an_image_of_another_size_too(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    write_image(data[1] / "1.png", np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(DataError, match="its annotation says 96 x 96"):
        train(recipe, *data, tmp_path / "run", device=CPU, workers=0)


def test_recipe_and_data_must_agree_on_the_kind_of_box(
    data: tuple[Annotations, Path], recipe: Recipe, tmp_path: Path
) -> None:
    annotations, folder = data
    roi = recipe.model.roi.model_copy(update={"box": OrientedBox()})
    model = recipe.model.model_copy(update={"roi": roi})
    oriented = recipe.model_copy(update={"model": model, "name": "turned"})
    with pytest.raises(DataError, match="horizontal boxes, the recipe turned learns oriented"):
        train(oriented, annotations, folder, tmp_path / "run", device=torch.device("cpu"))
    assert not (tmp_path / "run").exists()


def with_schedule(recipe: Recipe, **values: object) -> Recipe:
    return recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update=values)})


class OneNumber(nn.Module):
    """A detector that trains in no time."""

    boxes = "horizontal"

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.tensor(0.1))

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, torch.Tensor]:
        return {"loss_score": (self.score - 0.9) ** 2 + 0 * batch.images.mean()}

    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        raise NotImplementedError


def test_training_ends_when_nothing_gets_better(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    scores = iter([0.5, 0.6, None, 0.6, 0.55, 0.7, 0.1])
    said: list[str] = []
    patient = with_schedule(recipe, epochs=9, patience=3, metric="AP_eS")
    for resume in (False, True):  # ended, and nothing to do when it is resumed
        train(
            patient, *data, tmp_path, device=CPU, workers=0, resume=resume, say=said.append,
            detector=OneNumber(), validate=lambda detector: {"AP": 0.9, "AP_eS": next(scores)},
        )  # fmt: skip
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["AP_eS"] for row in csv.DictReader(file)] == ["0.5", "0.6", "", "0.6", "0.55"]
    assert (
        said
        == [
            "training ends after epoch 5 of 9: no better AP_eS in 3 evaluations (the best is 0.6; "
            "schedule.patience)"
        ]
        * 2
    )
    longer = with_schedule(patient, patience=4, epochs=6)
    train(
        longer, *data, tmp_path, device=CPU, workers=0, resume=True, detector=OneNumber(),
        validate=lambda detector: {"AP": 0.9, "AP_eS": next(scores)},
    )  # fmt: skip
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 7


def test_patience_needs_a_metric(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"schedule\.patience: .* no data to measure it on"):
        train(with_schedule(recipe, patience=1), *data, tmp_path, device=CPU, workers=0)


def test_deterministic_algorithms_are_used_in_training_only(
    recipe: Recipe, data: Data, tmp_path: Path
) -> None:
    seen: list[bool] = []
    train(
        with_schedule(recipe, deterministic=True, epochs=1), *data, tmp_path, device=CPU, workers=0,
        detector=OneNumber(),
        on_step=lambda report: seen.append(torch.are_deterministic_algorithms_enabled()),
    )  # fmt: skip
    assert seen == [True] * 3
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_operation_without_a_deterministic_algorithm_is_said(
    recipe: Recipe, data: Data, tmp_path: Path
) -> None:
    def draw(report: StepReport) -> None:
        torch.zeros(3).put_(torch.tensor([0]), torch.tensor([1.0]))

    with pytest.raises(SodkitError, match=r"deterministic: put_(.|\n)*deterministic=false"):
        train(
            with_schedule(recipe, deterministic=True), *data, tmp_path, device=CPU, workers=0,
            on_step=draw, detector=OneNumber(),
        )  # fmt: skip
