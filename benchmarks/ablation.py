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
import time
from pathlib import Path

import short_runs
import torch

from sodkit.config import load_recipe
from sodkit.engine.checkpoint import load_checkpoint
from sodkit.evaluation.protocol import AreaRange
from sodkit.settings import Recipe

VARIANTS = {
    "baseline": ("model.kind=faster-rcnn", "model.imitation=null"),
    "crpn": ("model.imitation=null",),
    "fi": ("model.kind=faster-rcnn", "model.imitation={}"),
    "cfinet": (),
}

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
    counts = {"train": options.images, "test": options.test_images}
    scenes = short_runs.make_scenes(
        options.out, _recipe(options, "cfinet", 0), counts, options.width
    )
    rows: list[short_runs.Row] = []
    for seed in options.seeds:
        for variant in options.variants:
            row = _run(options, scenes, variant, seed)
            rows.append({"variant": variant, "seed": str(seed), **row})
            short_runs.write_table(options.out / "ablation.csv", rows, "variant", METRICS)
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


def _run(
    options: argparse.Namespace, scenes: short_runs.Scenes, variant: str, seed: int
) -> dict[str, float | None]:
    """Return the metrics of a run; train and measure it first if that is not done."""
    out = options.out / "runs" / f"{variant}-{seed}"
    recipe = _recipe(options, variant, seed)

    def make() -> short_runs.Metrics:
        start = time.perf_counter()
        checkpoint = short_runs.train(
            recipe, scenes.patches("train"), out, workers=options.workers, threads=options.threads
        )
        metrics = dict(
            short_runs.scene_metrics(load_checkpoint(checkpoint, short_runs.CPU), scenes)
        )
        metrics |= short_runs.proposal_metrics(checkpoint, scenes.patches("test"), HALVES)
        return metrics | {"seconds": time.perf_counter() - start}

    metrics = short_runs.result(out / "ablation.json", recipe, scenes, make)
    return {name: metrics[name] for name in METRICS}


if __name__ == "__main__":
    main()
