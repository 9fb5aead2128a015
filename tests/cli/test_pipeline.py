"""The commands as a user types them: a tiny data set through train, predict and eval."""

from __future__ import annotations

import json
import os
import shlex
import signal
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pipeline import SMALL, coco, run, train

from sodkit.cli.train import next_command
from sodkit.cli.train_view import TrainView
from sodkit.engine.paths import DataPaths
from sodkit.synthetic import make_dataset


def test_train_reports_the_last_epoch(trained: tuple[Path, Path]) -> None:
    _, folder = trained
    code, out, _ = run("train", "--resume", folder, "--epochs", 2, "--workers", 0, "--json")
    assert code == 0
    row = json.loads(out)["last_epoch"]
    assert row["epoch"] == 2
    assert set(row) >= {"loss", "loss_coarse_reg", "loss_imitation", "AP", "AP50"}


def test_train_says_what_it_does_and_what_comes_next(tmp_path: Path) -> None:
    data, out = coco(tmp_path), tmp_path / "a run"
    code, stdout, err = train(data, out, "--val", data, "--images", tmp_path, "--device", "cpu")
    assert code == 0
    assert "data: 3 images, 6 objects, 0 ignored\nsteps: 2 (1 epochs of 2" in err
    assert err.index("device: cpu") < err.index("imitation")  # the header of the rows
    assert "next:" not in stdout
    command = shlex.split(err.splitlines()[-1].removeprefix("next: "))
    assert command[:2] == ["sodkit", "predict"]
    code, _, err = run(*command[1:], "--device", "cpu")
    assert code == 0, err
    assert (out / "predictions.json").is_file()


def test_the_next_command_without_validation() -> None:
    paths = DataPaths("data", None, None, None, None)
    assert next_command(Path("runs/a b"), paths) == (
        "sodkit predict 'runs/a b/checkpoints/last.safetensors' IMAGES "
        "--out 'runs/a b/predictions.json'"
    )
    paths = DataPaths("data", None, "v.txt", "my images", "dota")
    assert "v.txt --images 'my images' --format dota --out" in next_command(Path("run"), paths)


def test_an_interrupted_validation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = coco(tmp_path), tmp_path / "a run"
    with monkeypatch.context() as patch:

        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("sodkit.engine.validation.predict_images", interrupt)
        code, _, err = train(data, out, "--val", data)
        assert code == 130
        assert f"to go on: sodkit train --resume '{out}'" in err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = run("train", "--resume", out, "--workers", 0, "--device", "cpu")
    assert code == 0, err
    assert "1/1" not in err  # no step of the epoch comes again
    assert len((out / "metrics.csv").read_text().splitlines()) == 2
    code, _, err = run("train", "--resume", out, "--workers", 0)
    assert code == 2
    assert "has all of its 1 epochs" in err
    assert "to go on" not in err


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
def test_a_signal_ends_training_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, said: str
) -> None:
    data, out = coco(tmp_path), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(TrainView, "step", lambda *_: os.kill(os.getpid(), number))
        ended, _, err = train(data, out)
    assert ended == code
    assert said in err
    assert "stopping after this step" in err
    assert f"to go on: sodkit train --resume {out}" in err
    ended, _, err = run("train", "--resume", out, "--workers", 0, "--set", "schedule.lr=0.5")
    assert ended == 2
    assert "schedule.lr is 0.5, was 0.0008" in err
    ended, _, err = run("train", "--resume", out, "--workers", 0, "--device", "cpu")
    assert ended == 0, err
    assert "; 1 are done" in err


@pytest.mark.parametrize("name", ["mps:7", "meta", "cuda:99", "99", "", " ", "xpu:9"])
def test_devices_that_are_not_here(trained: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    data, folder = trained
    checkpoint = folder / "checkpoints" / "last.safetensors"
    for command in (
        ("train", "cfinet-r18-demo", "--data", data, "--out", tmp_path / "x"),
        ("train", "--resume", folder, "--epochs", 9),
        ("predict", checkpoint, data, "--out", tmp_path / "x.json"),
        ("demo", "--out", tmp_path / "demo"),
    ):
        code, _, err = run(*command, "--device", name)
        assert code == 2
        assert "no such device here; there is cpu" in err
        assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [1, 2, float("nan"), 3]}, "annotations"),
        ({"bbox": [1, 2, 0, 3]}, "annotations"),
        ({"category_id": 77}, "77"),
        ({"image_id": 99}, "99"),
    ],
)
def test_train_on_bad_annotations(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    data = coco(tmp_path)
    content = json.loads(data.read_text())
    content["annotations"][2] |= change
    data.write_text(json.dumps(content))
    code, _, err = train(data, tmp_path / "run")
    assert code == 3
    assert "data.json" in err
    assert message in err
    assert not (tmp_path / "run").exists()


def test_train_where_something_is(tmp_path: Path) -> None:
    data = coco(tmp_path)
    code, _, err = train(data, tmp_path)
    assert code == 2
    assert "exists already" in err


def test_a_run_that_never_finished_an_epoch_starts_anew(tmp_path: Path) -> None:
    data = coco(tmp_path)
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[:50])
    code, _, err = train(data, tmp_path / "run")
    assert code == 3
    assert "2.png" in err
    code, _, err = run("train", "--resume", tmp_path / "run", "--workers", 0)
    assert code == 3
    assert "starts anew" in err
    (tmp_path / "2.png").write_bytes(whole)
    code, _, err = train(data, tmp_path / "run")
    assert code == 0, err


def test_train_without_images(tmp_path: Path) -> None:
    data = coco(tmp_path)
    (tmp_path / "2.png").unlink()
    code, _, err = train(data, tmp_path / "run")
    assert code == 3
    assert "2.png" in err


def test_train_with_other_validation_classes(tmp_path: Path) -> None:
    data = coco(tmp_path)
    (tmp_path / "val").mkdir()
    val = coco(tmp_path / "val", categories=[{"id": 4, "name": "sqare"}])
    code, _, err = train(data, tmp_path / "run", "--val", val)
    assert code == 3
    assert "sqare" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "no-such-recipe", "--data", "x", "--out", "y"), "no recipe named"),
        (("train",), "Usage"),
        (("train", "--out", "y"), "--data and --out are needed"),
        (("train", "--resume", "nowhere"), "holds no training run"),
        (("frobnicate",), "No such command"),
        (("recipes", "cfinet-r50-soda-d", "--set", "schedule.epoch=1"), "did you mean epochs"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert message in err + out


def test_recipes() -> None:
    code, out, _ = run("recipes")
    assert code == 0
    assert "cfinet-r50-soda-d-release" in out
    code, out, _ = run("recipes", "cfinet-r50-soda-d", "--json")
    assert json.loads(out)["recipe"]["schedule"]["lr"] == 0.01
    code, out, _ = run("recipes", "cfinet-r50-soda-d", "--set", "schedule.epochs=3")
    assert "epochs: 3" in out
    code, out, _ = run("recipes", "cfinet-r50-soda-d", "--explain", "--set", "schedule.epochs=3")
    assert "# how often every image is trained on" in out
    assert "  epochs: 3" in out
    assert run("recipes", "--explain")[0] == 2


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An oriented data set, and a run on its patches; no command names the kind of box."""
    folder = tmp_path_factory.mktemp("oriented")
    data = make_dataset(
        folder, images=2, seed=0, width=160, height=128, boxes="oriented", subset="train"
    )
    code, _, err = run("split", data, "--out", folder / "patches", "--size", 64, "--stride", 48)
    assert code == 0, err
    tiny = ("model.backbone={name: resnet18, weights: null, frozen_stages: 0}", "input.scale=1.0")
    sets = [part for value in (*SMALL, *tiny) for part in ("--set", value)]
    code, _, err = run(
        "train", "--data", folder / "patches", "--out", folder / "run", "--workers", 0, *sets,
        "--epochs", 1,
    )  # fmt: skip
    assert code == 0, err
    return data, folder / "run"


def test_oriented_data_train_cfinet_for_them(turned: tuple[Path, Path]) -> None:
    text = (turned[1] / "recipe.yaml").read_text("utf-8")
    assert "name: cfinet-r50-soda-a" in text
    assert "kind: oriented" in text


def test_oriented_predictions_and_metrics(turned: tuple[Path, Path], tmp_path: Path) -> None:
    data, folder = turned
    checkpoint, out = folder / "checkpoints" / "last.safetensors", tmp_path / "pred.json"
    code, _, err = run("predict", checkpoint, data, "--out", out, "--score", 0)
    assert code == 0, err
    records = json.loads(out.read_text("utf-8"))
    assert {len(record["obb"]) for record in records} == {5}
    code, text, err = run("eval", data, out, "--json")
    assert code == 0, err
    assert json.loads(text)["protocol"] == "soda-a"
    code, _, err = run("predict", checkpoint, data, "--out", tmp_path / "task1.zip")
    assert code == 0, err
    with zipfile.ZipFile(tmp_path / "task1.zip") as archive:
        assert len(archive.namelist()) == 6


def test_kinds_of_box_that_disagree(turned: tuple[Path, Path], tmp_path: Path) -> None:
    code, _, err = run("train", "cfinet-r18-demo", "--data", turned[0], "--out", tmp_path / "run")
    assert code == 3
    assert "oriented boxes, the recipe cfinet-r18-demo learns horizontal ones" in err
    assert not (tmp_path / "run").exists()
    code, _, err = train(coco(tmp_path), tmp_path / "run", "--set", "model.roi.box.kind=oriented")
    assert code == 3
    assert "horizontal boxes" in err


def test_task_1_needs_oriented_boxes(trained: tuple[Path, Path], tmp_path: Path) -> None:
    checkpoint = trained[1] / "checkpoints" / "last.safetensors"
    code, _, err = run("predict", checkpoint, trained[0], "--out", tmp_path / "task1.zip")
    assert code == 2
    assert "wants oriented boxes" in err
