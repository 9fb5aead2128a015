from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sodkit.data.images import write_image
from sodkit.data.records import Annotations
from sodkit.engine.train import StepReport, make_optimizer, set_rate, train
from sodkit.errors import DataError, SodkitError
from sodkit.models.detector import Detector
from sodkit.models.zoo import build
from sodkit.settings import Recipe, Schedule

Data = tuple[Annotations, Path]
CPU = torch.device("cpu")


def weights(detector: Detector) -> dict[str, torch.Tensor]:
    return detector.state_dict()


def assert_same(one: Detector, other: Detector) -> None:
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


def test_an_unreadable_image_stops_training(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    (data[1] / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1\.png"):
        train(recipe, *data, tmp_path / "run", device=CPU, workers=1)


def test_an_image_of_another_size_too(recipe: Recipe, data: Data, tmp_path: Path) -> None:
    write_image(data[1] / "1.png", np.zeros((50, 50, 3), np.uint8))
    with pytest.raises(DataError, match="its annotation says 96 x 96"):
        train(recipe, *data, tmp_path / "run", device=CPU, workers=0)


def test_rates(recipe: Recipe) -> None:
    schedule = Schedule(
        epochs=12, lr=0.01, warmup=500, warmup_factor=0.001, steps=(8, 11), embedding_lr=0.05
    )
    optimizer = make_optimizer(build(recipe.model, 2), schedule)
    assert set_rate(optimizer, schedule, epoch=0, step=0, steps=9999) == pytest.approx(1e-5)
    assert set_rate(optimizer, schedule, epoch=0, step=250, steps=9999) == pytest.approx(
        0.01 * 0.5005
    )
    assert set_rate(optimizer, schedule, epoch=7, step=9000, steps=9999) == pytest.approx(0.01)
    assert set_rate(optimizer, schedule, epoch=8, step=9000, steps=9999) == pytest.approx(0.001)
    assert set_rate(optimizer, schedule, epoch=11, step=9000, steps=9999) == pytest.approx(0.0001)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([1e-4, 5e-6])
    assert sum(len(g["params"]) for g in optimizer.param_groups) == sum(
        p.requires_grad for p in build(recipe.model, 2).parameters()
    )


def test_recipe_and_data_must_agree_on_the_kind_of_box(
    data: tuple[Annotations, Path], recipe: Recipe, tmp_path: Path
) -> None:
    annotations, folder = data
    oriented = recipe.model_copy(update={"boxes": "oriented", "name": "turned"})
    with pytest.raises(DataError, match="horizontal boxes, the recipe turned learns oriented"):
        train(oriented, annotations, folder, tmp_path / "run", device=torch.device("cpu"))
    assert not (tmp_path / "run").exists()
