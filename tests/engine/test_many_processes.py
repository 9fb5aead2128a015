"""Two processes, or several parts, train as one batch in one process does."""

from __future__ import annotations

import csv
import pickle
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations, Detections, ImageRecord
from sodkit.engine.checkpoint import load_checkpoint
from sodkit.engine.loop import StepReport
from sodkit.engine.predict import _rounds, predict_images
from sodkit.engine.predict_options import PredictOptions
from sodkit.engine.train import train
from sodkit.engine.world import ALONE, World
from sodkit.errors import UsageError
from sodkit.models.detector import DetectorModule
from sodkit.settings import Keep, Recipe
from tests.engine.conftest import squares
from tests.engine.processes import in_processes

CPU = torch.device("cpu")
SMALL = (
    "model.backbone.name=resnet18", "model.backbone.weights=null", "input.patch=96",
    "model.backbone.frozen_stages=0", "input.stride=64", "input.scale=1.0", "schedule.epochs=2",
    "schedule.warmup=0", "schedule.lr=0.002", "schedule.clip=10.0", "schedule.batch=4",
)  # fmt: skip
KINDS = {
    "cfinet-r50-soda-d": (
        *SMALL, "model.roi.hidden=32", "model.fpn.channels=32", "model.crpn.coarse_normalizer=20",
        # All proposals are trained on: of those drawn from a list sorted by score, others would be
        # drawn where two scores differ by less than the rounding of one batch and of two.
        "model.roi.matching.samples=4000", "model.crpn.limit={train: 1000, test: 300}",
        "model.crpn.fine.samples=32",
        # objects with a positive proposal are exemplars, from the first step on
        "model.imitation.low_quality=0.0", "model.imitation.high_quality=0.0",
        "model.imitation.min_predictions=1", "model.imitation.queue=8",
        "model.imitation.iq_members=score", "model.imitation.iq_score=0.0",
        "model.imitation.iq_iou=proposal",
    ),
    "retinanet-r50-soda-d": (*SMALL, "model.channels=32", "model.convs=1"),
    "fcos-r50-soda-d": (*SMALL, "model.channels=32", "model.convs=1", "model.groups=8"),
}  # fmt: skip

TOGETHER = (
    ("cfinet-r50-soda-d", 1),
    ("cfinet-r50-soda-d", 2),
    ("fcos-r50-soda-d", 1),
    ("fcos-r50-soda-d", 2),
    ("retinanet-r50-soda-d", 1),
)
"""What two processes train, in how many parts."""


def recipe_of(name: str, *more: str) -> Recipe:
    return load_recipe(name, [*KINDS[name], *more])


def scenes(folder: Path) -> Annotations:
    """Five images: one is wider than the others, two are without objects."""
    images, annotations = squares(5)
    folder.mkdir()
    images[2] = np.pad(images[2], ((0, 0), (0, 40), (0, 0)))
    for number, image in enumerate(images):
        write_image(folder / f"{number}.png", image)
    records = [
        ImageRecord(record.id, record.file_name, image.shape[1], image.shape[0])
        for record, image in zip(annotations.images, images, strict=True)
    ]
    return replace(annotations.take(annotations.image_index != 1), images=tuple(records))


OPTIONS = PredictOptions(size=64, stride=40, merge_nms=0.5, batch=3, keep=Keep(score=0.0))


def predicted(
    detector: DetectorModule, recipe: Recipe, annotations: Annotations, folder: Path, world: World
) -> tuple[Detections, list[str]]:
    """Return what is found in windows of all images, and the files that cannot be read."""
    bad: list[str] = []
    records = [*annotations.images]
    records.insert(3, ImageRecord(99, "missing.png", 120, 96))
    found = predict_images(
        detector, recipe, records, folder, device=CPU, options=OPTIONS, world=world,
        on_bad=lambda image, error: bad.append(image.file_name),
    )  # fmt: skip
    return found, bad


class Stopped(BaseException):
    """Stands for the end of the processes: nothing is done about it."""


def _stop_and_resume(world: World, folder: Path, annotations: Annotations) -> None:
    """Train what ``_work`` trains first, stopped in the third of four steps."""

    def stop(report: StepReport) -> None:
        if report.step == 2:
            raise Stopped

    name, parts = TOGETHER[0]
    recipe = recipe_of(name, f"schedule.accumulate={parts}")
    given = (recipe, annotations, folder / "images", folder / "resumed")
    with suppress(Stopped):
        train(*given, device=CPU, workers=0, world=world, on_step=stop)
    world.wait()  # the first process writes what the others read
    train(*given, device=CPU, workers=0, world=world, resume=True)


def _work(world: World, folder: Path, annotations: Annotations) -> None:
    """Train all kinds, in parts too, and predict."""
    for name, parts in TOGETHER:
        recipe, run = recipe_of(name, f"schedule.accumulate={parts}"), folder / f"{name}-{parts}"
        given = (recipe, annotations, folder / "images", run)
        trained = train(*given, device=CPU, workers=0, world=world)
        states = world.gathered(trained.state_dict())
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    _stop_and_resume(world, folder, annotations)
    found = predicted(trained, recipe, annotations, folder / "images", world)
    if world.first:
        (folder / "found.pickle").write_bytes(pickle.dumps(found))
    else:
        assert (len(found[0]), found[1]) == (0, [])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Annotations]:
    """What two processes have left: all that is tested of them is done in one go."""
    folder = tmp_path_factory.mktemp("processes")
    annotations = scenes(folder / "images")
    in_processes(_work, folder, annotations)
    return folder, annotations


def rows(run: Path) -> list[dict[str, float]]:
    with (run / "losses.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("name", KINDS)
def test_processes_and_parts_train_as_one_batch_does(
    name: str, runs: tuple[Path, Annotations], tmp_path: Path
) -> None:
    """The last step of an epoch has one image: one process has none."""
    folder, annotations = runs
    for parts in (1,) if name.startswith("cfinet") else (1, 3):
        recipe = recipe_of(name, f"schedule.accumulate={parts}")
        train(recipe, annotations, folder / "images", tmp_path / str(parts), device=CPU, workers=0)
    wanted = rows(tmp_path / "1")
    assert len(wanted) == 4
    together = [folder / f"{kind}-{parts}" for kind, parts in TOGETHER if kind == name]
    for run in (*tmp_path.iterdir(), *together):
        for step in zip(rows(run), wanted, strict=True):
            assert step[0] == pytest.approx(step[1], rel=0, abs=1e-5), run
    if name.startswith("cfinet"):
        assert sum(row["loss_imitation"] > 0 for row in wanted) >= 2


def test_a_run_that_was_stopped_ends_with_the_same_bytes(runs: tuple[Path, Annotations]) -> None:
    folder, _ = runs
    whole = folder / "-".join(map(str, TOGETHER[0]))
    for name in ("losses.csv", "checkpoints/last.safetensors", "checkpoints/state.safetensors"):
        assert (folder / "resumed" / name).read_bytes() == (whole / name).read_bytes(), name


def test_processes_predict_what_one_does(runs: tuple[Path, Annotations]) -> None:
    """To the bit, with an image that cannot be read."""
    folder, annotations = runs
    file = folder / "retinanet-r50-soda-d-1" / "checkpoints" / "last.safetensors"
    loaded = load_checkpoint(file, CPU)
    found, bad = predicted(loaded.detector, loaded.recipe, annotations, folder / "images", ALONE)
    divided, bad_too = pickle.loads((folder / "found.pickle").read_bytes())
    assert bad == bad_too == ["missing.png"]
    assert len(found) > 100
    for column in ("image_ids", "labels", "scores", "xywh"):
        assert np.array_equal(getattr(found, column), getattr(divided, column))


def test_batches_are_dealt_in_rounds_and_come_back_in_order() -> None:
    plan = [(number,) * 2 for number in range(2 * 3 * 32 + 5)]
    dealt = [list(_rounds(plan, World(rank, 3))) for rank in range(3)]  # type: ignore[arg-type]
    assert [len(rounds) for rounds in dealt] == [3, 3, 3]
    assert [len(rounds[-1]) for rounds in dealt] == [1, 2, 2]
    together = [batch for each in zip(*dealt, strict=True) for part in each for batch in part]
    assert together == plan


def test_more_processes_than_images_are_refused(tmp_path: Path) -> None:
    annotations = scenes(tmp_path / "images")
    with pytest.raises(UsageError, match="5 processes divide the 4 images") as error:
        train(
            recipe_of("retinanet-r50-soda-d"), annotations, tmp_path / "images", tmp_path / "run",
            device=CPU, world=World(0, 5),
        )  # fmt: skip
    assert "schedule.batch=5" in str(error.value)
    assert not (tmp_path / "run").exists()
