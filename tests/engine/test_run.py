"""A run from paths: what is looked for first, what is logged, and from where it is resumed."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from sodkit.data.records import Annotations
from sodkit.engine.paths import DataPaths
from sodkit.engine.reports import StepReport
from sodkit.engine.training_run import RunPlan, execute, resumed_plan
from sodkit.errors import DataError, ModelError
from sodkit.settings import Recipe


@pytest.fixture
def home(data: tuple[Annotations, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the images and their COCO file ``a.json``, made the working folder."""
    annotations, folder = data
    content = {
        "images": [
            {"id": i.id, "file_name": i.file_name, "width": i.width, "height": i.height}
            for i in annotations.images
        ],
        "annotations": [
            {"id": k + 1, "image_id": int(image) + 1, "category_id": 1, "bbox": box.tolist()}
            for k, (image, box) in enumerate(
                zip(annotations.image_index, annotations.xywh, strict=True)
            )
        ],
        "categories": [{"id": 1, "name": "square"}],
    }
    (folder / "a.json").write_text(json.dumps(content))
    monkeypatch.chdir(folder)
    return folder


def plan(recipe: Recipe, val_images: str | None = None, epochs: int = 1) -> RunPlan:
    schedule = recipe.schedule.model_copy(update={"epochs": epochs})
    short = recipe.model_copy(update={"schedule": schedule})
    return RunPlan(short, DataPaths("a.json", None, "a.json", val_images, None), Path("run"), False)


def test_images_to_validate_on_are_looked_for_first(recipe: Recipe, home: Path) -> None:
    (home / "empty").mkdir()
    steps: list[StepReport] = []
    with pytest.raises(DataError, match=r"0\.png: 5 of 5 images cannot be found\n--val-images"):
        execute(plan(recipe, "empty"), device="cpu", workers=0, on_step=steps.append)
    assert not steps
    assert not (home / "run").exists()


def test_data_that_cannot_be_trained_on_replace_no_run(recipe: Recipe, home: Path) -> None:
    (home / "run" / "checkpoints").mkdir(parents=True)
    (home / "run" / "run.json").write_text("{}")
    (home / "4.png").unlink()
    anew = replace(plan(recipe), overwrite=True)
    with pytest.raises(DataError, match=r"4\.png: 1 of 5 images cannot be found\n--images"):
        execute(anew, device="cpu", workers=0)
    assert (home / "run" / "run.json").read_text() == "{}"


def test_every_ap_is_logged_and_the_run_resumed_from_anywhere(
    recipe: Recipe, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    row = execute(
        plan(recipe), device="cpu", workers=0, on_validate=lambda *done: seen.append(done)
    )
    names = ["AP", "AP50", "AP75", "AP_eS", "AP_rS", "AP_gS", "AP_N"]
    assert [name for name in row if name.startswith("A")] == names
    assert seen == [(k, 5) for k in range(1, 6)]
    monkeypatch.chdir("/")
    again = resumed_plan(home / "run", ["schedule.epochs=2"], out=None)
    assert execute(again, device="cpu", workers=0)["epoch"] == 2
    with (home / "run" / "metrics.csv").open() as file:
        table = csv.DictReader(file)
        assert [row["epoch"] for row in table] == ["1", "2"]
        assert table.fieldnames is not None
        assert table.fieldnames[-7:] == names


def test_area_ranges_of_the_recipe_name_the_columns(recipe: Recipe, home: Path) -> None:
    areas = {"areas": {"all": (0.0, 1e9), "tiny": (0.0, 100.0)}}
    evaluation = recipe.evaluation.model_copy(update=areas)
    row = execute(
        plan(recipe.model_copy(update={"evaluation": evaluation})), device="cpu", workers=0
    )
    assert [name for name in row if name.startswith("A")] == ["AP", "AP50", "AP75", "AP_tiny"]


def test_a_checkpoint_is_no_state(recipe: Recipe, home: Path) -> None:
    execute(plan(recipe), device="cpu", workers=0)
    folder = home / "run" / "checkpoints"
    (folder / "last.safetensors").replace(folder / "state.safetensors")
    with pytest.raises(ModelError, match="is a sodkit checkpoint, not a training state"):
        execute(resumed_plan(home / "run", [], out=None), device="cpu", workers=0)
