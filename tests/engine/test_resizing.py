"""One size for all images of some steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.data.records import Annotations
from sodkit.engine.reports import StepReport
from sodkit.engine.resizing import prepared, resized, side_at
from sodkit.engine.train import train
from sodkit.models.parts import rotated_coders
from sodkit.settings import Input, Recipe
from sodkit.settings.augment import Affine, Augment, Colours, CopyPaste, MixUp, Mosaic, Sizes

CPU = torch.device("cpu")
SIZES = Sizes(sides=(64, 128), every=3)
INPUT = Input(patch=64, scale=1.5, augment=Augment(sizes=SIZES))


def batch(*, oriented: bool = False) -> Batch:
    boxes = torch.tensor([[8.0, 16, 24, 40], [50, 60, 90, 64]])
    regions = torch.tensor([[0.0, 0, 48, 48]])
    obb = None
    if oriented:
        obb = rotated_coders.upright(boxes)
        regions = rotated_coders.upright(regions)
    target = Target(boxes, torch.tensor([0, 1]), regions, obb)
    images = torch.arange(96 * 96.0).reshape(1, 1, 96, 96).expand(2, 3, 96, 96)
    return Batch(images, ((96, 96), (60, 96)), ((1.5, 1.5),) * 2, (target, target), plain=True)


def test_a_size_is_drawn_for_some_steps() -> None:
    sides = [side_at(INPUT, 0, step) for step in range(300)]
    assert sides[:3] == [None] * 3
    assert set(sides[3:]) == {64, 96, 128}
    for first in range(3, 300, 3):
        assert len(set(sides[first : first + 3])) == 1
    assert sides == [side_at(INPUT, 0, step) for step in range(300)]
    assert sides != [side_at(INPUT, 1, step) for step in range(300)]
    assert side_at(Input(), 0, 50) is None


def step_of(side: int) -> int:
    return next(step for step in range(3, 300) if side_at(INPUT, 0, step) == side)


@pytest.mark.parametrize("oriented", [False, True])
@pytest.mark.parametrize("side", [64, 128])
def test_boxes_and_sizes_follow(side: int, oriented: bool) -> None:
    given, factor = batch(oriented=oriented), side / 96
    found = resized(given, INPUT, 0, step_of(side))
    assert found.images.shape == (2, 3, side, side)
    assert found.sizes == ((side, side), (round(60 * factor), side))
    assert found.scales == ((1.5 * factor, 1.5 * factor),) * 2
    assert found.plain
    for before, after in zip(given.targets, found.targets, strict=True):
        torch.testing.assert_close(after.boxes, before.boxes * factor)
        sides = torch.tensor([factor] * 4 + [1.0] * oriented)
        torch.testing.assert_close(after.ignore_boxes, before.ignore_boxes * sides)
        assert (after.obb is None) == (before.obb is None)
        if before.obb is not None:
            torch.testing.assert_close(after.obb, before.obb * sides)
    want = torch.nn.functional.interpolate(given.images, (side, side), mode="bilinear")
    assert torch.equal(found.images, want)


def test_a_batch_of_another_form_is_padded_again() -> None:
    given = replace(batch(), images=torch.ones(2, 3, 64, 96), sizes=((64, 96), (60, 96)))
    found = resized(given, INPUT, 0, step_of(64))
    assert found.images.shape == (2, 3, 64, 64)  # 43 rows are padded to 64
    assert found.sizes == ((43, 64), (40, 64))
    assert (found.images[:, :, :43] == 1).all()
    assert (found.images[:, :, 43:] == 0).all()
    assert found.targets[0].boxes[0].tolist() == pytest.approx([16 / 3, 10.75, 16, 26.875])


def test_the_full_side_is_left_as_it_is() -> None:
    given = batch()
    assert resized(given, INPUT, 0, step_of(96)) is given
    assert resized(given, INPUT, 0, 0) is given


def test_a_run_with_all_of_it_is_resumed_to_the_bit(
    data: tuple[Annotations, Path], tmp_path: Path
) -> None:
    augment = Augment(
        copy_paste=CopyPaste(), mosaic=Mosaic(), affine=Affine(scale=(0.5, 1.5)), mixup=MixUp(),
        colours=Colours(), sizes=Sizes(sides=(64, 128), every=1), plain_epochs=1,
    )  # fmt: skip
    small = ("model.width=0.125", "model.depth=0.1", "input.patch=96", "input.scale=1.0")
    short = ("schedule.epochs=2", "schedule.batch=2", "schedule.save_steps=1")
    recipe = load_recipe("yolox-s-soda-d", [*small, *short])
    inputs = recipe.input.model_copy(update={"augment": augment})
    recipe = recipe.model_copy(update={"input": inputs})

    def run(name: str, on_step: Callable[[StepReport], None], *, resume: bool = False) -> bytes:
        train(recipe, *data, tmp_path / name, device=CPU, workers=0, on_step=on_step,
              resume=resume)  # fmt: skip
        return (tmp_path / name / "checkpoints" / "last.safetensors").read_bytes()

    def stop(report: StepReport) -> None:
        if report.step == 1:
            raise InterruptedError

    whole = run("a", lambda report: None)
    with pytest.raises(InterruptedError):
        run("b", stop)
    assert run("b", lambda report: None, resume=True) == whole


def test_bytes_become_numbers_first(recipe: Recipe) -> None:
    changed = recipe.model_copy(update={"input": INPUT})
    bytes_ = replace(batch(), images=torch.full((2, 3, 96, 96), 200, dtype=torch.uint8))
    found = prepared(bytes_, changed, step_of(128))
    assert found.images.dtype == torch.float32
    assert found.images.shape == (2, 3, 128, 128)
    want = (200 - torch.tensor(INPUT.mean)) / torch.tensor(INPUT.std)
    torch.testing.assert_close(found.images[0, :, 5, 5], want)
