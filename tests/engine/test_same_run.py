"""A run is resumed with its own recipe and data, or refused with what differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sodkit.data.records import Annotations, Category, ImageRecord
from sodkit.engine.same_run import MAY_CHANGE, check_same_run, run_info
from sodkit.errors import DataError, UsageError
from sodkit.settings import Recipe
from sodkit.settings.dense import RetinaNet

RUN = Path("runs/a")


@pytest.fixture
def annotations(data: tuple[Annotations, Path]) -> Annotations:
    return data[0]


def with_schedule(recipe: Recipe, **values: Any) -> Recipe:
    return recipe.model_copy(update={"schedule": recipe.schedule.model_copy(update=values)})


def check(before: tuple[Recipe, Annotations], after: tuple[Recipe, Annotations]) -> None:
    check_same_run(run_info(*before, None), run_info(*after, None), RUN)


def test_what_may_change(recipe: Recipe, annotations: Annotations) -> None:
    backbone = recipe.model.backbone.model_copy(update={"weights": "elsewhere.pth"})
    model = recipe.model.model_copy(update={"backbone": backbone})
    other = recipe.model_copy(update={"model": model, "name": "b", "description": "longer"})
    longer = with_schedule(
        other,
        epochs=9,
        steps=(7,),
        steps_in="iterations",
        evaluate_every=2,
        patience=3,
        save_steps=5,
        save_minutes=1.0,
        keep_every=4,
    )
    check((recipe, annotations), (longer, annotations))
    dumped = recipe.model_dump()
    for key in MAY_CHANGE:  # every one is a setting that there is
        value: Any = dumped
        for part in key.split("."):
            value = value[part]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"lr": 0.5}, "schedule.lr is 0.5, was 0.002"),
        ({"batch": 3, "clip": None}, "schedule.batch is 3, was 2; schedule.clip is null, was 10.0"),
    ],
)
def test_another_recipe(
    recipe: Recipe, annotations: Annotations, values: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check((recipe, annotations), (with_schedule(recipe, **values), annotations))
    assert caught.value.where == str(RUN)
    assert said in caught.value.what
    assert "schedule.epochs" in (caught.value.hint or "")


def test_another_detector(recipe: Recipe, annotations: Annotations) -> None:
    other = recipe.model_copy(update={"model": RetinaNet()})
    with pytest.raises(UsageError) as caught:
        check((recipe, annotations), (other, annotations))
    assert 'model.kind is "retinanet", was "cfinet"' in caught.value.what


def first_image(annotations: Annotations, **values: Any) -> Annotations:
    image, *rest = annotations.images
    return replace(annotations, images=(replace(image, **values), *rest))


def moved(annotations: Annotations) -> Annotations:
    xywh = annotations.xywh.copy()
    xywh[3, 0] += 1e-9
    return replace(annotations, xywh=xywh)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda a: replace(a, categories=(Category(3, "square"), Category(5, "round"))),
            "the classes are square, round, were square, other",
        ),
        (
            lambda a: replace(a, categories=(Category(3, "square"), Category(6, "other"))),
            "the ids of the classes are 3, 6, were 3, 5",
        ),
        (
            lambda a: replace(a, images=(*a.images, ImageRecord(9, "9.png", 96, 96))),
            "images 6, were 5",
        ),
        (lambda a: a.take(np.arange(len(a)) > 1), "annotations 14, were 16; ignored 0, were 1"),
        (lambda a: first_image(a, file_name="a.png"), "names, sizes or order of the images"),
        (lambda a: first_image(a, width=97), "names, sizes or order of the images"),
        (lambda a: replace(a, images=a.images[::-1]), "names, sizes or order of the images"),
        (moved, "other boxes, as many as before"),
        (lambda a: replace(a, labels=1 - a.labels), "other labels, as many as before"),
        (lambda a: replace(a, ignore=np.roll(a.ignore, 1)), "other ignore flags, as many"),
    ],
)
def test_other_data(recipe: Recipe, annotations: Annotations, change: Any, said: str) -> None:
    changed = change(annotations)
    with pytest.raises(DataError) as caught:
        check((recipe, annotations), (recipe, changed))
    assert said in caught.value.what
    for before, after in ((annotations, changed), (None, annotations), (annotations, None)):
        infos = (run_info(recipe, annotations, val) for val in (before, after))
        with pytest.raises(DataError, match="was validated on other data"):
            check_same_run(*infos, RUN)


def test_equal_data_read_again(recipe: Recipe, annotations: Annotations) -> None:
    fortran = replace(annotations, xywh=np.asfortranarray(annotations.xywh))
    check((recipe, annotations), (recipe, fortran))
    check_same_run(None, run_info(recipe, annotations, None), RUN)
