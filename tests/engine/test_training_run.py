"""A run as a whole: its folder."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sodkit.config import dump_recipe
from sodkit.data.formats import read_annotations
from sodkit.data.formats.coco_write import write
from sodkit.data.formats.reading import Reading
from sodkit.data.formats.subsets import TRAINED, VALIDATED
from sodkit.data.images.decoding import write_image
from sodkit.data.left_out import LeftOut
from sodkit.data.records import REGION, Annotations, Category
from sodkit.engine.checkpoint import load_checkpoint
from sodkit.engine.paths import DataPaths
from sodkit.engine.reports import StepReport
from sodkit.engine.run_folder import STATE
from sodkit.engine.training_run import (
    RunPlan,
    _read,
    execute,
    fresh_plan,
    resumed_plan,
    with_classes_of,
)
from sodkit.errors import DataError, ModelError, TerminatedError, UsageError
from sodkit.lock import LOCK, check_no_writer
from sodkit.settings import Recipe
from sodkit.tiling.settings import SplitSettings
from sodkit.tiling.split_dataset import split_dataset


@pytest.fixture
def ann(data: tuple[Annotations, Path]) -> Path:
    annotations, folder = data
    write(folder / "data.json", annotations)
    return folder / "data.json"


def plan(recipe: Recipe, ann: Path, out: Path, *, overwrite: bool = False) -> RunPlan:
    (ann.parent / "recipe.yaml").write_text(dump_recipe(recipe))
    return fresh_plan(
        str(ann.parent / "recipe.yaml"), ["schedule.epochs=1"],
        paths=DataPaths(str(ann)), out=out, overwrite=overwrite,
    )  # fmt: skip


def test_a_run_is_the_only_writer_until_it_ends(recipe: Recipe, ann: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused = []

    def look(report: object) -> None:
        for start in (
            lambda: check_no_writer(out),
            lambda: plan(recipe, ann, out),
            lambda: plan(recipe, ann, out, overwrite=True),
            lambda: execute(RunPlan(first.recipe, first.paths, out, resume=False), workers=0),
            lambda: resumed_plan(out, [], out=None),
        ):
            with pytest.raises(UsageError, match="is writing to it"):
                start()
            refused.append(report)

    first = plan(recipe, ann, out)
    execute(first, device="cpu", workers=0, on_step=look)
    assert refused
    assert not (out / LOCK).exists()
    with pytest.raises(UsageError, match="exists already"):  # planned before the other one ended
        execute(first, device="cpu", workers=0)
    (out / "notes.txt").write_text("mine")
    (out / "checkpoints/best.safetensors").write_text("of another validation")
    execute(plan(recipe, ann, out, overwrite=True), device="cpu", workers=0)
    assert not (out / "checkpoints/best.safetensors").exists()
    assert (out / "notes.txt").read_text() == "mine"
    assert len((out / "metrics.csv").read_text().splitlines()) == 2


# Official_Remote_Sensing_Mamba#26: one broken image ends the training
def test_broken_images_are_left_out_and_listed(recipe: Recipe, ann: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "run", list[str]()
    broken = min(ann.parent.rglob("*.png"), default=None) or min(ann.parent.rglob("*.jpg"))
    broken.write_bytes(b"no image")
    first = plan(recipe, ann, out)
    with pytest.raises(DataError) as caught:
        execute(first, device="cpu", workers=0)
    assert "--skip-bad" in (caught.value.hint or "")
    skipping = replace(first, paths=replace(first.paths, skip_bad=True))
    execute(skipping, device="cpu", workers=0, say=said.append)
    assert said[0].startswith("left out: 1")
    assert broken.name in (out / "left_out.csv").read_text()
    assert resumed_plan(out, [], out=None).paths.skip_bad


def test_a_yaml_trains_on_train_and_validates_on_val(tmp_path: Path) -> None:
    for subset, value in (("train", 10), ("val", 200)):
        path = tmp_path / "images" / subset / f"{subset}.png"
        path.parent.mkdir(parents=True)
        write_image(path, np.full((64, 96, 3), value, np.uint8))
        label = tmp_path / "labels" / subset / f"{subset}.txt"
        label.parent.mkdir(parents=True)
        label.write_text("0 .5 .5 .5 .5\n")
    yaml = tmp_path / "data.yaml"
    yaml.write_text("train: images/train\nval: images/val\nnames: [car]\n")
    said: list[str] = []
    for kinds, name in ((TRAINED, "train"), (VALIDATED, "val")):
        paths = DataPaths(str(yaml))
        own, folder = _read(str(yaml), None, paths, LeftOut(bad=False), kinds, said.append)
        assert [image.file_name for image in own.images] == [f"images/{name}/{name}.png"]
        assert folder == tmp_path
        assert said[-1].endswith(f"the subset {name} is read")


def test_reading_options_are_kept_for_resuming(recipe: Recipe, ann: Path, tmp_path: Path) -> None:
    """The class is called so that it would hold ignore regions, and areas are far off."""
    content = json.loads(ann.read_text())
    content["categories"] = [{**item, "name": "others"} for item in content["categories"]]
    content["categories"][0]["name"] = "DontCare"
    ann.write_text(json.dumps(content))
    out = tmp_path / "run"
    first = plan(recipe, ann, out)
    reading = Reading(difficult="keep", area="box", angle="degrees")
    paths = replace(first.paths, reading=reading, classes="DontCare")
    execute(replace(first, paths=paths), device="cpu", workers=0)
    names = load_checkpoint(out / "checkpoints/last.safetensors", torch.device("cpu")).categories
    assert [item.name for item in names] == ["DontCare"]
    again = resumed_plan(out, [], out=None)
    assert (again.paths.reading, again.paths.classes) == (reading, "DontCare")


def test_validation_classes_are_matched_by_name(data: tuple[Annotations, Path]) -> None:
    annotations, _ = data
    names = ("ship", "plane", "car")
    trained = replace(annotations, categories=tuple(Category(k, n) for k, n in enumerate(names)))
    other = replace(
        annotations,
        categories=(Category(7, "Car"), Category(9, "ship")),
        labels=np.resize([0, 1, REGION], len(annotations)),
    )
    said: list[str] = []
    own = with_classes_of(trained.categories, other, "val.json", said.append)
    assert said == ["val.json: class 'Car' is taken as the trained 'car'"]
    assert own.categories == trained.categories
    assert own.labels.tolist() == np.resize([2, 0, REGION], len(annotations)).tolist()
    strange = replace(other, categories=(Category(7, "bus"), Category(9, "ship")))
    with pytest.raises(DataError, match="not trained on: bus") as caught:
        with_classes_of(trained.categories, strange, "val.json", said.append)
    assert "--classes" in (caught.value.hint or "")


def test_patches_pass_the_depth_of_their_images_on(
    recipe: Recipe, data: tuple[Annotations, Path], ann: Path, tmp_path: Path
) -> None:
    settings = SplitSettings(size=96, stride=96, bit_depth=12)
    split_dataset(read_annotations(ann), data[1], tmp_path / "patches", settings)
    assert plan(recipe, ann, tmp_path / "run").recipe.input.bit_depth is None
    for path in (tmp_path / "patches", tmp_path / "patches/annotations.json"):
        made = fresh_plan(
            str(ann.parent / "recipe.yaml"), [], paths=DataPaths(str(path)), out=tmp_path / "run"
        )
        assert made.recipe.input.bit_depth == 12


@pytest.fixture
def stopped(recipe: Recipe, ann: Path) -> Path:
    """A run that was stopped after the first step of its only epoch."""

    def stop(report: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    run = ann.parent / "run"
    with pytest.raises(TerminatedError):
        execute(plan(recipe, ann, run), device="cpu", workers=0, on_step=stop)
    return run


def test_a_stopped_run_goes_on_with_data_that_were_moved(
    stopped: Path, ann: Path, tmp_path: Path
) -> None:
    ann.parent.rename(tmp_path / "moved")
    moved = resumed_plan(
        tmp_path / "moved/run", [], out=None, given={"data": str(tmp_path / "moved/data.json")}
    )
    assert moved.resume
    steps: list[StepReport] = []
    execute(moved, device="cpu", workers=0, on_step=steps.append)
    assert [report.step for report in steps] == [1, 2]


def test_other_data_or_settings_are_refused(
    stopped: Path, ann: Path, data: tuple[Annotations, Path]
) -> None:
    run, (annotations, folder) = stopped, data
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    fewer = {"data": str(folder / "fewer.json")}
    write(folder / "fewer.json", replace(annotations, images=annotations.images[:4]))
    for overrides, given, error, said in (
        (["schedule.lr=0.5"], {}, UsageError, "schedule.lr is 0.5, was 0.002"),
        ([], {"recipe": "cfinet-r18-demo"}, UsageError, "schedule.batch is "),
        (
            [],
            {"given": fewer},
            DataError,
            "trained on other data: images 4, were 5",
        ),
        (
            [],
            {"given": {"classes": "square"}},
            DataError,
            "trained on other data: the classes are square, were square, other",
        ),
        ([], {"given": {"val": str(ann)}}, DataError, "there was none before"),
    ):
        other: Any = given
        with pytest.raises(error) as caught:
            execute(resumed_plan(run, overrides, out=None, **other), device="cpu", workers=0)
        assert said in caught.value.what
        assert caught.value.where == str(run)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_state_that_is_cut_is_refused(stopped: Path) -> None:
    state = stopped / STATE
    whole = state.read_bytes()
    for blocks in (0, 1, 7, len(whole) // 4096):
        state.write_bytes(whole[: 4096 * blocks])
        with pytest.raises(ModelError) as caught:
            execute(resumed_plan(stopped, [], out=None), device="cpu", workers=0)
        assert caught.value.where == str(state)
        assert "--overwrite" in (caught.value.hint or "")


def test_a_metric_that_is_not_measured(recipe: Recipe, ann: Path, tmp_path: Path) -> None:
    (ann.parent / "recipe.yaml").write_text(dump_recipe(recipe))
    out, name = tmp_path / "run", str(ann.parent / "recipe.yaml")
    for override, val, said in (
        ("schedule.metric=AP_es", str(ann), "the protocol soda-d measures no 'AP_es'"),
        ("schedule.patience=2", None, "no data to measure it on"),
    ):
        wrong = fresh_plan(name, [override], paths=DataPaths(str(ann), val=val), out=out)
        with pytest.raises(UsageError, match=said):
            execute(wrong, device="cpu", workers=0)
    assert not (out / STATE).exists()


def test_a_run_that_ended_early_says_so_when_it_is_resumed(
    recipe: Recipe, ann: Path, tmp_path: Path
) -> None:
    (ann.parent / "recipe.yaml").write_text(dump_recipe(recipe))
    early = ["schedule.epochs=3", "schedule.patience=1", "schedule.lr=1e-9"]
    out = tmp_path / "run"
    first = fresh_plan(
        str(ann.parent / "recipe.yaml"), early, paths=DataPaths(str(ann), val=str(ann)), out=out
    )
    last = execute(first, device="cpu", workers=0)
    assert last["epoch"] == 2  # no weight has changed, and so no metric
    with pytest.raises(UsageError, match="has ended after 2 of 3 epochs") as caught:
        execute(resumed_plan(out, [], out=None), device="cpu", workers=0)
    assert "schedule.patience=null" in (caught.value.hint or "")


def test_a_run_without_state(stopped: Path, tmp_path: Path) -> None:
    """Stopped before its first one it starts anew; a lost state is not taken for that."""
    run = stopped
    (run / STATE).unlink()
    anew = resumed_plan(run, ["schedule.lr=0.001"], out=None)
    assert not anew.resume
    steps: list[StepReport] = []
    execute(anew, device="cpu", workers=0, on_step=steps.append)
    assert [report.step for report in steps] == [0, 1, 2]
    (run / STATE).unlink()
    with pytest.raises(UsageError, match="its state is missing"):
        resumed_plan(run, [], out=None)
    with pytest.raises(UsageError, match="holds no training run"):
        resumed_plan(tmp_path, [], out=None)
