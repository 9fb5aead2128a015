"""The readers of settings and of what a run or a split remembers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

from sodkit.config import builtin_names, dump_recipe, load_recipe
from sodkit.data.formats import coco_write
from sodkit.data.formats.subsets import TRAINED, VALIDATED
from sodkit.data.left_out import LeftOut
from sodkit.engine import log
from sodkit.engine import training_run as run
from sodkit.engine.checkpoint import Progress, save_state
from sodkit.errors import SodkitError
from sodkit.tiling.settings import SplitSettings
from sodkit.tiling.split_dataset import split_dataset

from . import made
from .reader import Files, Reader

_OVERRIDES = (
    "schedule.epochs=6", "model.backbone.weights=null", "input.mean=[1.0, 2.0, 3.0]",
    "evaluation.areas={small: [0.0, 144.0]}", "schedule.steps=[8, 11]", "schedule.lr=0.001",
    "model.imitation=null", "model.kind=retinanet", "name=own",
)  # fmt: skip


def _recipes() -> tuple[Files, ...]:
    """Return the built-in recipes as they print, and what departs in a few lines."""
    short = b"name: own\nmodel:\n  crpn: {assignment: {base: 0.3}}\nschedule: {steps: [1, 2]}\n"
    return (
        {"r.yaml": short},
        {"r.yaml": b"name: own\nevaluation:\n  areas: {all: [0.0, 9.0]}\n  max_dets: [1, 10]\n"},
        *({"r.yaml": dump_recipe(load_recipe(name)).encode()} for name in builtin_names()[:3]),
    )


def _recipe(folder: Path) -> None:
    dump_recipe(load_recipe(str(folder / "r.yaml")))


def _overrides() -> tuple[Files, ...]:
    return tuple({"line.set": text.encode()} for text in _OVERRIDES)


def _override(folder: Path) -> None:
    text = (folder / "line.set").read_bytes().decode("utf-8", "surrogateescape")
    dump_recipe(load_recipe("cfinet-r50-soda-d", [text]))


def _runs() -> tuple[Files, ...]:
    """Return folders of runs that can be resumed."""

    def write(folder: Path) -> None:
        (folder / "recipe.yaml").write_text(dump_recipe(load_recipe("cfinet-r18-demo")), "utf-8")
        model = nn.Linear(2, 1)
        nn.init.zeros_(model.weight)
        nn.init.zeros_(model.bias)
        save_state(
            folder / run.STATE, model, torch.optim.SGD(model.parameters(), 0.1), Progress(epoch=1)
        )
        coco_write.write(folder / "ann.json", made.horizontal())

    files = made.written(write)
    plain = {"data": "ann.json", "images": None, "val": "ann.json", "val_images": "images",
             "format_name": "coco"}  # fmt: skip
    reading = {"difficult": "keep", "area": "box", "angle": "degrees", "oriented": True}
    chosen = {**plain, "reading": reading, "classes": "ship"}
    bare = {**plain, "images": "images", "val": None, "val_images": None, "format_name": None}
    return tuple(
        {**files, "run.json": json.dumps({**content, "absolute": _absolute(content)}).encode()}
        for content in (plain, chosen, bare)
    )


def _absolute(content: dict[str, str | None]) -> dict[str, str | None]:
    """Return paths that lead nowhere: the given ones are taken then."""
    keys = ("data", "images", "val", "val_images")
    return {key: content[key] and f"/absent/{content[key]}" for key in keys}


def _resume(folder: Path) -> None:
    """Read what ``train --resume`` reads before it trains."""
    plan = run.resumed_plan(folder, [], out=None)
    left = LeftOut(bad=plan.paths.skip_bad)
    run._read(plan.paths.data, plan.paths.images, plan.paths, left, TRAINED, lambda _: None)
    if plan.paths.val is not None:
        run._read(
            plan.paths.val, plan.paths.val_images, plan.paths, left, VALIDATED, lambda _: None
        )


def _logs() -> tuple[Files, ...]:
    """Return the tables that a run of two epochs writes."""

    def write(folder: Path) -> None:
        with patch.object(log, "has_tensorboard", return_value=False), log.RunLog(folder) as own:
            for epoch in (1, 2):
                own.step({"epoch": epoch, "step": epoch, "loss": 0.5})
                own.epoch({"epoch": epoch, "step": epoch, "AP": None})

    return made.written(write), made.written(write)


def _log(folder: Path) -> None:
    with patch.object(log, "has_tensorboard", return_value=False), log.RunLog(folder):
        pass


def _splits() -> tuple[Files, ...]:
    """Return folders of patches beside the images: done, and left by a split that was killed."""

    def write(folder: Path) -> None:
        made.write_pictures(folder / "images")
        _split(folder, _RULES)

    done = made.written(write)
    killed = {name.replace("/split.json", "/.split.json"): data for name, data in done.items()}
    return done, killed


_RULES = SplitSettings(size=16, stride=12, format="png")


def _split(folder: Path, rules: SplitSettings, *, overwrite: bool = False) -> None:
    own = made.horizontal()
    split_dataset(own, folder / "images", folder / "out", rules, workers=1, overwrite=overwrite)


def _split_again(folder: Path) -> None:
    """Split into a folder of patches: with other rules, with the same, and by force."""
    errors = []
    for rules, overwrite in ((replace(_RULES, stride=9), False), (_RULES, False), (_RULES, True)):
        try:
            _split(folder, rules, overwrite=overwrite)
        except SodkitError as error:
            errors.append(error)
    if len(errors) > 1:  # the first is always refused: it holds another split
        raise errors[1]


READERS = (
    Reader("recipe", _recipes, _recipe, share=10),
    Reader("set", _overrides, _override, share=10),
    Reader("run", _runs, _resume, ("run.json",), share=15),
    Reader("log", _logs, _log, writes=True),
    Reader("split", _splits, _split_again, ("*split.json",), share=50, writes=True),
)
