"""What ``sodkit train --replay`` says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from sodkit.cli.main import make_app
from sodkit.cli.replay import sentences
from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.data.records import Category
from sodkit.engine.bad_batch import NAME, Replay, save_bad_batch
from sodkit.engine.build import new_detector


def replay(**changes: object) -> Replay:
    values: dict[str, object] = {
        "image_ids": (4, 5), "step": 3, "before": {"loss": math.nan}, "now": {"loss": math.nan},
        "weights": (), "module": None, "gradients": (),
    }  # fmt: skip
    return Replay(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (replay(module="fpn.lateral.0"), ["first output that is not finite is that of fpn.lat"]),
        (
            replay(weights=("a.b",), module="a"),
            ["made by an earlier one: a.b", "of a"],
        ),
        (replay(), ["it is the loss itself that is not"]),
        (replay(now={"loss": 1.0}, gradients=("a.w", "b.w")), ["not the gradients of a.w, b.w"]),
        (replay(now={"loss": 1.0}), ["all gradients are finite now"]),
    ],
)
def test_sentences(found: Replay, said: list[str]) -> None:
    lines = sentences(found)
    assert len(lines) == len(said)
    for line, words in zip(lines, said, strict=True):
        assert words in line


@pytest.fixture
def run(tmp_path: Path) -> Path:
    recipe = load_recipe(
        "cfinet-r18-demo", ["model.fpn.channels=16", "model.roi.hidden=16", "input.patch=64"]
    )
    detector = new_detector(recipe, 1, torch.device("cpu"))
    with torch.no_grad():
        detector.get_parameter("crpn.coarse_reg.bias")[0] = math.nan
    target = Target(torch.tensor([[8.0, 8, 24, 24]]), torch.tensor([0]), torch.zeros(0, 4))
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    batch = Batch(images, ((64, 64),), ((1.0, 1.0),), (target,), (17,))
    save_bad_batch(
        tmp_path / NAME, detector, batch, recipe, (Category(1, "ship"),), step=4, place=0,
        losses={"loss": math.nan, "loss_cls": 0.25},
    )  # fmt: skip
    return tmp_path


def test_the_command(run: Path) -> None:
    for where in (run, run / NAME):
        done = CliRunner().invoke(make_app(), ["train", "--replay", str(where), "--device", "cpu"])
        assert done.exit_code == 0
        assert "step 5, images 17" in done.output
        assert "not finite before the step already" in done.output
        assert "that of crpn.coarse_reg" in done.output
    done = CliRunner().invoke(make_app(), ["train", "--replay", str(run), "--json"])
    content = json.loads(done.stdout)
    assert content["losses_in_the_run"] == {"loss": None, "loss_cls": 0.25}
    assert content["weights_not_finite"] == ["crpn.coarse_reg.bias"]
    assert content["image_ids"] == [17]


def test_a_folder_without_one(tmp_path: Path) -> None:
    done = CliRunner().invoke(make_app(), ["train", "--replay", str(tmp_path)])
    assert done.exit_code == 2
    assert "all losses of the run were finite" in " ".join(done.output.split())
