"""Every system at equal budget: one command trains and measures all of them, as CFINet's Table 2.

    python benchmarks/systems.py --out systems                   # hours; called again it goes on
    python benchmarks/systems.py --out turned --boxes oriented   # those of Table 3
    python benchmarks/systems.py --out smoke --smoke             # minutes: only that all run

The systems are the built-in recipes. Each keeps its own settings but for what ``same_for_all``
returns: backbone, patches and schedule of the demo's recipe (ResNet-18 from random weights, 384 px,
AdamW, bfloat16 where the device has a fast one), but a lower learning rate, and half the channels.
Scenes are drawn, the same for all runs; a seed decides weights, order and sampling.

AP is measured on whole held-out scenes by the recipe's own NMS and limits. Proposals, of those that
have some, are measured on the scenes' patches, 300 a patch after the same NMS: AR, and the mean
number of good ones of an object. ``step_s`` and ``patch_s`` are CPU seconds of a training step
(without the optimiser, the least of three) and of a patch at prediction. Writes a row a run, then
mean and spread (standard deviation) of every system, to OUT/systems.csv or ``--csv``; rows of other
runs that are there stay.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import short_runs
import torch

from sodkit.config import builtin_names, load_recipe
from sodkit.data.formats import read_annotations
from sodkit.data.samples.loader import Batches
from sodkit.data.samples.normalise import normalised
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.engine.checkpoint import Checkpoint, load_checkpoint
from sodkit.models.detector import Proposes
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Recipe

NOT_SYSTEMS = {
    "cfinet-r18-demo": "CFINet as the demo trains it",
    "cfinet-r18-demo-oriented": "the same for oriented boxes",
    "cfinet-r50-soda-d-release": "CFINet as released weights need it",
}
"""The built-in recipes that stand for no row of the paper's tables, and what they are."""

DEMO = "cfinet-r18-demo"
LR = 3e-4
"""In place of the demo's .0008, with which RetinaNet's loss rises in the warm-up."""

WIDTHS = ("channels", "hidden", "pooled", "widths")
"""Numbers of the model that are divided by the same, wherever its settings have them."""

FACTORS = ("width",)
"""Factors on such numbers, which are divided likewise."""

SIZES = ("eS", "rS", "gS", "N")
QUALITY = ("AP", "AP50", "AP75", *(f"AP_{size}" for size in SIZES))
PROPOSALS = (
    "AR@300",
    *(f"AR_{size}@300" for size in SIZES),
    *(f"good_{size}@300" for size in SIZES),
)
COLUMNS = (*QUALITY, *PROPOSALS, "parameters", "step_s", "patch_s", "steps")

SMOKE = ("input.patch=128", "input.stride=96", "schedule.batch=2")
TIMED_STEPS = 3


def main() -> None:
    """Train and measure what is missing; write the table after every run."""
    options = _options()
    torch.set_num_threads(options.threads)
    chosen = options.systems or systems(options.boxes)
    counts = {"train": options.images, "test": options.test_images}
    scenes = short_runs.make_scenes(
        options.out, _recipe(options, chosen[0], 0, 1), counts, options.width
    )
    table = options.csv or options.out / "systems.csv"
    for seed in options.seeds:
        for name in chosen:
            row = _run(options, scenes, name, seed)
            rows = [*_others(table, name, seed), {"system": name, "seed": str(seed), **row}]
            rows.sort(key=lambda row: (str(row["system"]), str(row["seed"])))
            short_runs.write_table(table, rows, "system", COLUMNS)
            shown = {k: round(row[k] or 0.0, 3) for k in ("AP", "AP50", "step_s", "patch_s")}
            print(name, seed, shown, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--boxes", choices=("horizontal", "oriented"), default="horizontal")
    parser.add_argument("--systems", nargs="+", metavar="RECIPE", help="default: all that exist")
    parser.add_argument("--steps", type=int, default=840, help="to whole epochs")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--images", type=int, default=8, help="scenes to train on")
    parser.add_argument("--test-images", type=int, default=4)
    parser.add_argument("--width", type=int, default=2048, help="of the scenes; 4 : 3")
    parser.add_argument("--csv", type=Path, help="the table (default: OUT/systems.csv)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="tiny: one scene, one step, one seed")
    options = parser.parse_args()
    options.divisor = 2
    known = systems("horizontal") + systems("oriented")
    for name in options.systems or ():
        if name not in known or load_recipe(name).boxes != options.boxes:
            parser.error(f"{name} is no system for {options.boxes} boxes: {', '.join(known)}")
    if options.smoke:
        options.overrides = [*SMOKE, *options.overrides]
        options.steps = options.images = options.test_images = 1
        options.width, options.seeds, options.divisor = 256, options.seeds[:1], 4
    return options


def _others(table: Path, name: str, seed: int) -> list[short_runs.Row]:
    """Return the rows that a table has of other runs, so that systems can be run one by one."""
    if not table.is_file():
        return []
    lines = (x for x in table.read_text("utf-8").splitlines() if not x.startswith("#"))
    return [
        {k: float(v) if k in COLUMNS and v else v or None for k, v in row.items()}
        for row in csv.DictReader(lines)
        if row["seed"].isdigit() and (row["system"], row["seed"]) != (name, str(seed))
    ]


def systems(boxes: str) -> list[str]:
    """Return the built-in recipes that are systems for a kind of box."""
    names = (name for name in builtin_names() if name not in NOT_SYSTEMS)
    return [name for name in names if load_recipe(name).boxes == boxes]


def same_for_all(recipe: Recipe, divisor: int = 2) -> list[str]:
    """Return the settings ``a.b=value`` that a system's recipe gets.

    Args:
        recipe: the built-in one.
        divisor: of the widths.
    """
    demo, model = load_recipe(DEMO).model_dump(mode="json"), recipe.model.model_dump(mode="json")
    own = {"model.backbone": demo["model"]["backbone"]} if "backbone" in model else {}
    parts = own | {
        "input": demo["input"],
        "schedule": demo["schedule"] | {"lr": LR},
    }
    widths = {
        path: _divided(value, divisor, whole=path.rpartition(".")[2] in WIDTHS)
        for path, value in _leaves(model, "model")
        if path.rpartition(".")[2] in (*WIDTHS, *FACTORS)
    }
    return [f"{path}={json.dumps(value)}" for path, value in (parts | widths).items()]


def _divided(value: Any, divisor: int, *, whole: bool) -> Any:
    """Return a number, or each of a list, divided; rounded down if ``whole``."""
    if isinstance(value, list):
        return [_divided(one, divisor, whole=whole) for one in value]
    return value // divisor if whole else value / divisor


def _leaves(data: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings under keys joined by dots."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _leaves(value, f"{path}.{key}")
    else:
        yield path, data


def _recipe(options: argparse.Namespace, name: str, seed: int, epochs: int) -> Recipe:
    """Return the recipe of a run."""
    same = same_for_all(load_recipe(name), options.divisor)
    budget = (f"seed={seed}", f"schedule.epochs={epochs}")
    return load_recipe(name, [*same, *budget, *options.overrides])


def _run(
    options: argparse.Namespace, scenes: short_runs.Scenes, name: str, seed: int
) -> dict[str, float | None]:
    """Return the metrics of a run; train and measure it first if that is not done."""
    patches = scenes.patches("train")
    batch = _recipe(options, name, seed, 1).schedule.batch
    an_epoch = math.ceil(len(read_annotations(patches).images) / batch)
    epochs = max(1, round(options.steps / an_epoch))
    recipe = _recipe(options, name, seed, epochs)
    out = options.out / "runs" / f"{name}-{seed}"

    def make() -> short_runs.Metrics:
        checkpoint = short_runs.train(
            recipe, patches, out, workers=options.workers, threads=options.threads
        )
        return measure(checkpoint, scenes) | {"steps": float(epochs * an_epoch)}

    metrics = short_runs.result(out / "systems.json", recipe, scenes, make)
    return {column: metrics.get(column) for column in COLUMNS}


def measure(checkpoint: Path, scenes: short_runs.Scenes) -> dict[str, float | None]:
    """Return what is known of a trained detector: the columns of the table, but for the steps."""
    loaded = load_checkpoint(checkpoint, short_runs.CPU)
    patches = len(read_annotations(scenes.patches("test")).images)
    start = time.process_time()
    detections = short_runs.scene_metrics(loaded, scenes)
    metrics = {name: detections[name] for name in QUALITY}  # AR of detections is none of proposals
    seconds = (time.process_time() - start) / patches
    if isinstance(loaded.detector, Proposes):
        metrics |= short_runs.proposal_metrics(checkpoint, scenes.patches("test"))
    parameters = sum(p.numel() for p in loaded.detector.parameters())
    return {
        **metrics,
        "parameters": float(parameters),
        "step_s": step_seconds(loaded, scenes.patches("train")),
        "patch_s": seconds,
    }


def step_seconds(loaded: Checkpoint, patches: Path) -> float:
    """Return the least CPU seconds that losses and gradients of a batch took."""
    recipe, detector = loaded.recipe, loaded.detector.train()
    data = TrainingSet(read_annotations(patches), patches, recipe.input, seed=0)
    batches = Batches(data, batch=recipe.schedule.batch, seed=0, workers=0)
    batch = normalised(next(iter(batches.epoch(0))), recipe.input)
    shuffle = random_order(torch.Generator().manual_seed(0))
    least = math.inf
    for _ in range(TIMED_STEPS):
        start = time.process_time()
        losses: Mapping[str, torch.Tensor] = detector(batch, shuffle)
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
        least = min(least, time.process_time() - start)
    detector.eval()
    return least


if __name__ == "__main__":
    main()
