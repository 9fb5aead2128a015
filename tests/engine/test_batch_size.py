"""The largest batch that fits: found as a search one by one finds it; the trial step itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sodkit.data.formats.coco_write import write
from sodkit.data.records import Annotations
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.engine import training_run
from sodkit.engine.batch_size import largest, largest_images, try_step
from sodkit.engine.paths import DataPaths
from sodkit.engine.reports import StartReport
from sodkit.engine.training_run import RunPlan, execute
from sodkit.settings import Recipe

CPU = torch.device("cpu")


@given(
    st.integers(0, 50), st.integers(1, 20), st.integers(0, 400), st.integers(1, 64),
    st.integers(0, 80),
)  # fmt: skip
def test_the_search_finds_the_largest(
    fixed: int, each: int, room: int, most: int, memory: int
) -> None:
    """Beyond ``memory`` images a step fails."""
    tried: list[int] = []

    def peak(count: int) -> int | None:
        tried.append(count)
        return None if count > memory else fixed + each * count

    fitting = [n for n in range(1, most + 1) if n <= memory and fixed + each * n <= room]
    assert largest(peak, room, most) == max(fitting, default=0)
    assert len(tried) == len(set(tried)) <= 2 * most.bit_length() + 1
    assert max(tried) <= most


def test_it_tries_the_most_demanding_image(recipe: Recipe, data: tuple[Annotations, Path]) -> None:
    settings = recipe.input.model_copy(update={"scale_range": (0.5, 1.5)})
    wide = recipe.model_copy(update={"input": settings})
    dataset = TrainingSet(*data, settings, seed=0)
    assert dataset.object_counts.tolist() == [3, 4, 4, 4, 0]
    batch = largest_images(dataset, wide, 2)
    assert batch.image_ids == (4, 4)
    assert batch.sizes == ((144, 144),) * 2
    try_step(wide, batch, 2, CPU)  # a whole step, without a trace
    assert dataset[0, 0].image.shape != (144, 144, 3) or dataset[1, 0].image.shape != (144, 144, 3)


@pytest.fixture
def plan(recipe: Recipe, data: tuple[Annotations, Path], tmp_path: Path) -> RunPlan:
    annotations, folder = data
    write(folder / "data.json", annotations)
    one = recipe.schedule.model_copy(update={"epochs": 1})
    short = recipe.model_copy(update={"schedule": one})
    paths = DataPaths(str(folder / "data.json"))
    return RunPlan(short, paths, tmp_path / "run", resume=False, fit_batch=True)


def test_on_a_cpu_the_recipe_is_left(plan: RunPlan) -> None:
    said: list[str] = []
    begun: list[StartReport] = []
    execute(plan, device="cpu", workers=0, say=said.append, on_start=begun.append)
    assert begun[0].recipe.schedule.batch == 2
    assert "--batch auto tries what a GPU's memory holds; on cpu it stays 2" in said


def test_on_a_gpu_the_recipe_gets_it(plan: RunPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "fitting_batch", lambda *_: 5)
    said: list[str] = []
    data = training_run._training_data(plan, training_run.LeftOut(bad=False), said.append,
                                       training_run.ALONE)  # fmt: skip
    fitted = training_run._fitted(
        plan, *data, torch.device("cuda"), said.append, training_run.ALONE
    )
    assert fitted.recipe.schedule.batch == 5
    assert said == [
        "--batch auto: 5 images a step, the recipe had 2; schedule.lr=0.002 is left as it is"
    ]
