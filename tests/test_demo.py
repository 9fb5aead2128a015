from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sodkit.demo import DemoPlan, run_demo
from sodkit.errors import UsageError

TINY = (
    "schedule.epochs=1",
    "schedule.batch=2",
    "input.patch=128",
    "input.stride=96",
    "model.fpn.channels=32",
    "model.roi.hidden=32",
)


def test_every_stage_leaves_its_files(tmp_path: Path) -> None:
    said: list[str] = []
    plan = DemoPlan(
        str(tmp_path / "demo"), overrides=TINY, train_images=1, test_images=1, width=256, height=192
    )
    result = run_demo(plan, say=said.append)
    assert result.checkpoint.is_file()
    assert result.predictions.is_file()
    pictures = {p.suffix for p in result.pictures.iterdir()}
    assert ".png" in pictures
    assert "AP50" in result.evaluation.metrics
    assert len(said) == 5
    (tmp_path / "demo" / "data" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="--overwrite to replace"):
        run_demo(plan)
    run_demo(replace(plan, overwrite=True))
    assert (tmp_path / "demo" / "data" / "mine.txt").read_text() == "mine"


def test_oriented(tmp_path: Path) -> None:
    plan = DemoPlan(
        tmp_path / "demo", boxes="oriented", overrides=TINY, train_images=1, test_images=1,
        width=256, height=192,
    )  # fmt: skip
    result = run_demo(plan)
    assert result.evaluation.protocol.name == "soda-a"
    assert result.anchors.rotated_iou is not None
    assert "kind: oriented" in (tmp_path / "demo" / "run" / "recipe.yaml").read_text("utf-8")


def test_the_folder_must_be_new(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="exists already"):
        run_demo(DemoPlan(tmp_path))


def test_recipe_and_scenes_must_agree(tmp_path: Path) -> None:
    plan = DemoPlan(tmp_path / "demo", boxes="oriented", recipe="cfinet-r18-demo")
    with pytest.raises(UsageError, match="learns horizontal boxes") as error:
        run_demo(plan)
    assert "--boxes horizontal" in (error.value.hint or "")
    assert not (tmp_path / "demo").exists()
