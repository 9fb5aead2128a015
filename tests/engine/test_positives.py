"""Positive anchors by size class: counted as a slow reading of the matches does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.data.sizes import SIZE_NAMES, size_index
from sodkit.engine.positives import count_positives
from sodkit.engine.train import train
from sodkit.engine.train_step import seeded
from sodkit.models.zoo import build
from sodkit.settings import Recipe


def target(sides: list[float], *, oriented: bool = False) -> Target:
    """Square objects of these sides."""
    boxes = torch.tensor([[5.0, 5.0, 5 + s, 5 + s] for s in sides]).reshape(-1, 4)
    obb = None
    if oriented:  # the boxes around them say nothing of their size
        obb = torch.tensor([[5.0, 5.0, s, s, 0.3] for s in sides]).reshape(-1, 5)
        boxes = boxes * 3
    return Target(boxes, torch.zeros(len(sides)).long(), torch.zeros(0, 4), obb)


@pytest.mark.parametrize("oriented", [False, True])
def test_counts_are_those_of_a_loop(oriented: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    sides = ([8.0, 12.0, 12.1, 31.0], [], [44.0, 90.0, 3.0])
    scales = ((1.0, 1.0), (2.0, 2.0), (1.5, 2.0))
    batch = Batch(
        torch.zeros(3, 3, 8, 8), ((8, 8),) * 3, scales,
        tuple(target(one, oriented=oriented) for one in sides), (1, 2, 3),
    )  # fmt: skip
    matches = [torch.randint(-2, len(one), (500,), generator=generator) for one in sides]
    later = [torch.zeros(3).long()] * 3  # of a later stage
    found = count_positives(batch, [*matches, *later])
    assert found is not None
    objects, positives = [0] * 5, [0] * 5
    for image, (one, (x, y)) in enumerate(zip(sides, scales, strict=True)):
        for k, side in enumerate(one):
            area = torch.tensor([side * side / (x * y)]).double().numpy()
            place = int(size_index(area)[0])
            objects[place] += 1
            positives[place] += sum(m == k for m in matches[image].tolist())
    assert found.tolist() == [objects, positives]
    assert sum(objects) == 7
    assert len(objects) == len(SIZE_NAMES)


def test_nothing_is_known_without_matches() -> None:
    batch = Batch(torch.zeros(1, 3, 8, 8), ((8, 8),), ((1.0, 1.0),), (target([3.0]),), (1,))
    assert count_positives(batch, []) is None


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("cfinet-r50-soda-d", "model.fpn.channels=16"),
        ("faster-rcnn-r50-soda-d", "model.fpn.channels=16"),
        ("rfla-r50-soda-d", "model.fpn.channels=16"),
        ("retinanet-r50-soda-d", "model.channels=16"),
        ("fcos-r50-soda-d", "model.channels=64"),
        ("atss-r50-soda-d", "model.channels=64"),
        ("dyhead-r50-soda-d", "model.channels=64"),
        ("reppoints-r50-soda-d", "model.channels=16"),
        ("rotated-retinanet-r50-soda-a", "model.channels=16"),
        ("s2anet-r50-soda-a", "model.channels=16"),
        ("rotated-reppoints-r50-soda-a", "model.channels=64"),
        ("oriented-reppoints-r50-soda-a", "model.channels=64"),
        ("sparse-rcnn-r50-soda-d", "model.channels=16"),
        ("deformable-detr-r50-soda-d", "model.channels=64"),
        ("centernet-r50-soda-d", "model.channels=16"),
        (
            "cornernet-hourglass-soda-d",
            "model={kind: cornernet, widths: [32, 32], blocks: [1, 1], channels: 16}",
        ),
        ("yolox-s-soda-d", "model.width=0.125"),
    ],
)
def test_detectors_tell_the_matches_of_each_image(name: str, channels: str) -> None:
    resnet = ["model.backbone.name=resnet18", "model.backbone.weights=null"]
    own = name.startswith(("yolox", "cornernet"))
    recipe = load_recipe(name, [channels, *([] if own else resnet)])
    detector = build(recipe.model, 1)
    matches: list[torch.Tensor] = []
    batch = Batch(
        torch.zeros(2, 3, 64, 64), ((64, 64),) * 2, ((1.0, 1.0),) * 2,
        tuple(target(sides, oriented=recipe.boxes == "oriented") for sides in ([20.0, 9.0], [])),
        (1, 2), on_match=matches.append,
    )  # fmt: skip
    detector(batch, seeded(0, 0))
    assert len(matches) >= 2
    found = count_positives(batch, matches)
    assert found is not None
    assert found[0].tolist() == [1, 1, 0, 0, 0]
    assert int((matches[1] >= 0).sum()) == 0
    assert int(found[1].sum()) == int((matches[0] >= 0).sum())
    assert found[1].sum() > 0


def test_they_are_reported_with_the_speed_of_a_step(
    recipe: Recipe, data: object, tmp_path: Path
) -> None:
    reports = []
    one = recipe.schedule.model_copy(update={"epochs": 1})
    train(
        recipe.model_copy(update={"schedule": one}), *data, tmp_path, device=torch.device("cpu"),  # type: ignore[misc]
        workers=0, on_step=reports.append,
    )  # fmt: skip
    assert [report.images for report in reports] == [2, 2, 1]
    assert all(0 <= report.wait < report.seconds for report in reports)
    counted = sum(report.positives for report in reports)
    assert counted[0].sum() == 15
    assert counted[1].sum() > 15
