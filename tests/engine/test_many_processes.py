"""Two processes, or several parts, train as one batch in one process does."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations, ImageRecord
from sodkit.engine.train import train
from sodkit.engine.world import World
from sodkit.errors import UsageError
from sodkit.settings import Recipe
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
        "model.roi.matching.samples=64", "model.crpn.fine.samples=32",
        # objects with a positive proposal are exemplars, from the first step on
        "model.imitation.low_quality=0.0", "model.imitation.high_quality=0.0",
        "model.imitation.min_predictions=1", "model.imitation.queue=8",
        "model.imitation.iq_members=score", "model.imitation.iq_score=0.0",
        "model.imitation.iq_iou=proposal",
    ),
    "retinanet-r50-soda-d": (*SMALL, "model.channels=32", "model.convs=1"),
}  # fmt: skip


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


def rows(run: Path) -> list[dict[str, float]]:
    with (run / "losses.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def check_alike(found: Path, wanted: Path) -> None:
    """The losses of all steps agree to 1e-5."""
    pairs = list(zip(rows(found), rows(wanted), strict=True))
    assert len(pairs) == 4
    for step in pairs:
        assert step[0] == pytest.approx(step[1], rel=0, abs=1e-5), found


def _train_each(world: World, folder: Path, annotations: Annotations) -> None:
    """Train all kinds, in parts too; the weights are the same in both processes."""
    for name in KINDS:
        for parts in (1, 2):
            trained = train(
                recipe_of(name, f"schedule.accumulate={parts}"), annotations, folder / "images",
                folder / f"{name}-{parts}", device=CPU, workers=0, world=world,
            )  # fmt: skip
            states = world.gathered(trained.state_dict())
            assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_processes_and_parts_train_as_one_batch_does(tmp_path: Path) -> None:
    """The last step of an epoch has one image: one process has none."""
    annotations = scenes(tmp_path / "images")
    in_processes(_train_each, tmp_path, annotations)
    for name in KINDS:
        whole, parts = tmp_path / f"{name}-whole", tmp_path / f"{name}-parts"
        for run, count in ((whole, 1), (parts, 3)):
            recipe = recipe_of(name, f"schedule.accumulate={count}")
            train(recipe, annotations, tmp_path / "images", run, device=CPU, workers=0)
        for run in (parts, tmp_path / f"{name}-1", tmp_path / f"{name}-2"):
            check_alike(run, whole)
    imitation = [row["loss_imitation"] for row in rows(tmp_path / "cfinet-r50-soda-d-whole")]
    assert sum(value > 0 for value in imitation) >= 2


def test_more_processes_than_images_are_refused(tmp_path: Path) -> None:
    annotations = scenes(tmp_path / "images")
    with pytest.raises(UsageError, match="5 processes divide the 4 images") as error:
        train(
            recipe_of("retinanet-r50-soda-d"), annotations, tmp_path / "images", tmp_path / "run",
            device=CPU, world=World(0, 5),
        )  # fmt: skip
    assert "schedule.batch=5" in str(error.value)
    assert not (tmp_path / "run").exists()
