"""Does the paper's direction show? Baseline, +CRPN, +FI and CFINet at equal budget, some seeds.

    python benchmarks/ablation.py --out ablation         # hours; killed and called again it goes on
    python benchmarks/ablation.py --out smoke --smoke    # a minute: only that everything runs

Trains the demo's recipe (ResNet-18 from random weights, patches of 384 px) on synthetic scenes. The
scenes are the same for all runs; a seed decides weights, order and sampling. AP is measured on
whole held-out scenes, proposals (AR at 300, high-quality ones an object: the paper's Figure 4) on
their patches, 300 a patch after the same NMS, of oriented objects by enclosing boxes, and once more
for the two halves of eS, below and above the side of CRPN's anchor on P2. Writes OUT/ablation.csv:
a row a run, then mean and spread (the standard deviation over the seeds) of every variant.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from sodkit.config import load_recipe
from sodkit.data.formats import read_annotations
from sodkit.engine.checkpoint import Checkpoint, load_checkpoint
from sodkit.engine.paths import DataPaths
from sodkit.engine.predict import predict_images
from sodkit.engine.predict_options import PredictOptions
from sodkit.engine.training_run import STATE, RunPlan, execute
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.proposal_recall import evaluate_proposals
from sodkit.evaluation.protocol import AreaRange, protocol_for
from sodkit.files import write_text
from sodkit.settings import Keep, Recipe
from sodkit.synthetic import make_dataset
from sodkit.tiling.settings import SplitSettings
from sodkit.tiling.split_dataset import split_dataset

VARIANTS = {
    "baseline": ("model.kind=faster-rcnn", "model.imitation=null"),
    "crpn": ("model.imitation=null",),
    "fi": ("model.kind=faster-rcnn", "model.imitation={}"),
    "cfinet": (),
}
PROPOSAL_NMS = 0.7
"""Proposals are compared after this; by their recipes CRPN's pass .5, the RPN's .7."""

SIZES = ("eS", "rS", "gS", "N")
HALVES = (AreaRange("below8", 0.0, 8.0**2), AreaRange("8to12", 8.0**2, 12.0**2))
"""Of eS, by the side of a square of the object's area in px."""

SMOKE = (
    "input.patch=128",
    "input.stride=96",
    "model.fpn.channels=32",
    "model.roi.hidden=32",
    "schedule.batch=2",
)
METRICS = (
    "AP",
    "AP50",
    *(f"AP_{size}" for size in SIZES),
    "AR@300",
    *(f"AR_{size}@300" for size in SIZES),
    *(f"AR_{half.name}@300" for half in HALVES),
    *(f"good_{size}@300" for size in SIZES),
    "seconds",
)


def main() -> None:
    """Train and measure what is missing, then write the table."""
    options = _options()
    torch.set_num_threads(options.threads)
    data = _make_data(options)
    rows = []
    for seed in options.seeds:
        for variant in options.variants:
            row = _run(options, data, variant, seed)
            rows.append({"variant": variant, "seed": str(seed), **row})
            _write_table(options.out / "ablation.csv", rows)
            print(variant, seed, {k: v for k, v in row.items() if k in {"AP", "AP50", "AR@300"}})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="cfinet-r18-demo")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--images", type=int, default=8, help="scenes to train on")
    parser.add_argument("--test-images", type=int, default=6)
    parser.add_argument("--width", type=int, default=2048, help="of the scenes; 4 : 3")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--smoke", action="store_true", help="tiny: one scene, one epoch, one seed")
    options = parser.parse_args()
    if options.smoke:
        options.overrides = [*SMOKE, *options.overrides]
        options.epochs = options.images = options.test_images = 1
        options.width, options.seeds, options.workers = 256, options.seeds[:1], 0
    return options


def _recipe(options: argparse.Namespace, variant: str, seed: int) -> Recipe:
    """Return the recipe of a run."""
    budget = (f"schedule.epochs={options.epochs}", f"seed={seed}")
    return load_recipe(options.recipe, [*VARIANTS[variant], *budget, *options.overrides])


def _make_data(options: argparse.Namespace) -> Path:
    """Make scenes and patches, unless an earlier call did."""
    data, recipe = options.out / "data", _recipe(options, "cfinet", 0)
    for subset, count in (("train", options.images), ("test", options.test_images)):
        if not (data / f"{subset}.json").is_file():
            size = {"width": options.width, "height": options.width * 3 // 4}
            make_dataset(data, images=count, seed=0, boxes=recipe.boxes, subset=subset, **size)
        settings = SplitSettings(size=recipe.input.patch, stride=recipe.input.stride)
        scenes = read_annotations(data / f"{subset}.json")
        split_dataset(scenes, data, options.out / "patches" / subset, settings)
    return data


def _run(
    options: argparse.Namespace, data: Path, variant: str, seed: int
) -> dict[str, float | None]:
    """Return the metrics of a run; train and measure it first if that is not done."""
    out = options.out / "runs" / f"{variant}-{seed}"
    done, recipe = out / "ablation.json", _recipe(options, variant, seed)
    if not done.is_file():
        start = time.perf_counter()
        _train(options, recipe, out)
        metrics = _measure(options, out / "checkpoints" / "last.safetensors", data)
        metrics["seconds"] = time.perf_counter() - start
        content = {"recipe": recipe.model_dump(mode="json"), "metrics": metrics}
        write_text(done, json.dumps(content, indent=2) + "\n")
    content = json.loads(done.read_text("utf-8"))
    if content["recipe"] != recipe.model_dump(mode="json"):
        sys.exit(f"{out} was run with other settings: give another --out")
    metrics = content["metrics"]
    return {name: metrics[name] for name in METRICS}


def _train(options: argparse.Namespace, recipe: Recipe, out: Path) -> None:
    """Train, from where an earlier call was stopped."""
    patches = options.out / "patches" / "train"
    log = out / "metrics.csv"
    resume = (out / STATE).is_file()
    finished = resume and len(log.read_text("utf-8").splitlines()) > recipe.schedule.epochs
    if not finished:
        paths = DataPaths(str(patches))
        plan = RunPlan(recipe, paths, out, resume=resume)
        execute(plan, workers=options.workers, threads=options.threads)


def _measure(options: argparse.Namespace, checkpoint: Path, data: Path) -> dict[str, float | None]:
    """Return AP on the held-out scenes, and what 300 proposals do on their patches."""
    device = torch.device("cpu")
    loaded = load_checkpoint(checkpoint, device)
    scenes = read_annotations(data / "test.json")
    found = predict_images(loaded.detector, loaded.recipe, scenes.images, data, device=device)
    metrics = evaluate(scenes, found, protocol_for(scenes.kind)).metrics
    return dict(metrics) | proposal_metrics(loaded, options.out / "patches" / "test")


def proposal_metrics(loaded: Checkpoint, folder: Path) -> dict[str, float | None]:
    """Return what 300 proposals do on the patches of a folder, by the same NMS for all variants."""
    rpn = getattr(loaded.detector, "crpn", None) or loaded.detector.rpn
    rpn.config = rpn.config.model_copy(update={"nms_test": PROPOSAL_NMS})
    options = replace(PredictOptions.of(loaded.recipe), proposals=300, keep=Keep(score=0.0))
    patches = read_annotations(folder)
    proposals = predict_images(
        loaded.detector, loaded.recipe, patches.images, folder,
        device=torch.device("cpu"), options=options,
    )  # fmt: skip
    protocol = protocol_for(patches.kind)
    protocol = replace(protocol, areas=(*protocol.areas, *HALVES))
    # CRPN and RPN propose upright boxes: of oriented objects what encloses them is to be found
    patches, proposals = replace(patches, obb=None), replace(proposals, obb=None)
    return dict(evaluate_proposals(patches, proposals, protocol, (300,)).metrics)


def _write_table(path: Path, rows: list[dict[str, float | str | None]]) -> None:
    """Write the runs, and mean and spread of every variant."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["variant", "seed", *METRICS])
    table = [*rows, *_summary(rows, "mean"), *_summary(rows, "spread")]
    for row in table:
        values = (row[name] for name in METRICS)
        cells = [f"{v:.4f}" if isinstance(v, float) else "" for v in values]
        writer.writerow([row["variant"], row["seed"], *cells])
    write_text(path, stream.getvalue())


def _summary(
    rows: list[dict[str, float | str | None]], kind: str
) -> list[dict[str, float | str | None]]:
    """Return a row a variant: the mean, or the standard deviation where there are two seeds."""
    summary = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        out: dict[str, float | str | None] = {"variant": variant, "seed": kind}
        for name in METRICS:
            own = [row[name] for row in rows if row["variant"] == variant]
            values = [float(v) for v in own if v is not None]
            mean = statistics.fmean(values) if values else None
            spread = statistics.stdev(values) if len(values) > 1 else None
            out[name] = mean if kind == "mean" else spread
        summary.append(out)
    return summary


if __name__ == "__main__":
    main()
