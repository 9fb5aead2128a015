"""Memory of predicting on a raster that does not fit into it.

    python benchmarks/huge_raster.py --out benchmarks/results/huge_raster.csv

Makes a tiled GeoTIFF of ``--side`` px in a temporary folder and predicts on it as ``sodkit
predict`` does, journal and output file included, each case in a process of its own. The detector
finds ``--found`` objects at random places in each window and computes nothing. So the memory is
sodkit's: for reading, windows, detections, merging and writing; a detector's own comes on top. "MB
at the start" is what Python, PyTorch and sodkit take before.

    python benchmarks/huge_raster.py --recipe yolox-s-soda-d --set model.width=0.125 --found 300

With ``--recipe`` it is that detector, with random weights, which keeps the best ``--found`` boxes
of each window; "MB at the start" holds it, too.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

BLOCK = 512
CLASSES = 3
STANDARD = ("cfinet-r50-soda-d", "cfinet-r50-soda-a")
"""Recipes of which the stand-in has the windows and the kind of boxes."""


def main() -> None:
    """Run the cases and write the CSV."""
    options = _options()
    rows = []
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_raster(folder / "scene.tif", options.side)
        for recipe in [options.recipe] if options.recipe else STANDARD:
            for found in options.found:
                case = Case(folder, options.side, recipe, found, options.batch)
                real = tuple(options.overrides) if options.recipe else None
                with context.Pool(1) as pool:
                    row = pool.apply(measure, (case, real))
                rows.append(row)
                print(json.dumps(row), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=30_000, help="of the raster, px")
    parser.add_argument("--found", type=int, nargs="+", default=[100, 2000], help="in a window")
    parser.add_argument("--batch", type=int, default=4, help="windows a batch")
    parser.add_argument("--recipe", help="a detector that computes; default: the stand-in")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/huge_raster.csv"))
    return parser.parse_args()


def make_raster(path: Path, side: int) -> None:
    """Write a raster of noise that repeats, so that it is small on disk, a row of tiles at once."""
    import rasterio
    from rasterio.windows import Window

    noise = np.random.default_rng(0).integers(0, 256, (3, BLOCK, 64), np.uint8)
    rows = np.tile(noise, (1, 1, side // 64 + 1))[:, :, :side]
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8",
        "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate",
        "crs": "EPSG:32632", "transform": rasterio.Affine(0.3, 0, 6e5, 0, -0.3, 5.3e6),
    }  # fmt: skip
    with rasterio.Env(GDAL_CACHEMAX=64_000_000), rasterio.open(path, "w", **profile) as file:
        for y in range(0, side, BLOCK):
            height = min(BLOCK, side - y)
            file.write(rows[:, :height], window=Window(0, y, side, height))


@dataclass(frozen=True, slots=True)
class Case:
    """A raster, the recipe whose windows it has, boxes found in each, and windows a batch."""

    folder: Path
    side: int
    recipe: str
    found: int
    batch: int


def measure(case: Case, real: tuple[str, ...] | None = None) -> dict[str, object]:
    """Predict on the raster and say what it took.

    Args:
        case: what on.
        real: settings of the recipe's own detector, with random weights; None: the stand-in.
    """
    import torch

    from sodkit.config import load_recipe
    from sodkit.data.left_out import LeftOut
    from sodkit.data.records import Category
    from sodkit.engine.checkpoint import Checkpoint
    from sodkit.engine.journal import open_journal
    from sodkit.engine.predict_options import PredictOptions
    from sodkit.engine.predict_run import predict_into
    from sodkit.engine.targets import find_targets, write_found

    torch.set_num_threads(1)
    recipe = load_recipe(case.recipe, list(real or ()))
    oriented = recipe.boxes == "oriented"
    categories = tuple(Category(k + 1, f"class {k}") for k in range(CLASSES))
    targets = find_targets([case.folder / "scene.tif"], categories)
    options = replace(PredictOptions.of(recipe), batch=case.batch)
    if real is None:
        detector = random_detector(case.found, recipe.input.patch, oriented=oriented)
    else:
        detector = untrained(recipe)
        keep = options.keep.model_copy(update={"score": 0.0, "max_per_patch": case.found})
        options = replace(options, keep=keep)
    before, began = _peak(), time.process_time()
    out = case.folder / "found.json"
    with open_journal(
        case.folder / "journal", {}, targets.images, recipe.boxes, overwrite=True
    ) as journal:  # fmt: skip
        predict_into(
            journal, Checkpoint(detector, recipe, categories), targets,
            device=torch.device("cpu"), options=options, left=LeftOut(bad=False),
        )  # fmt: skip
        predicted = _peak()
        write_found(out, journal, targets)
    with out.open("rb") as file:
        kept = sum(1 for _ in file) - 2
    return {
        "detector": "stand-in" if real is None else " ".join([case.recipe, *real]),
        "side": case.side, "boxes": recipe.boxes, "found a window": case.found, "kept": kept,
        "MB at the start": before, "MB predicted": predicted, "MB at the end": _peak(),
        "CPU seconds": round(time.process_time() - began),
    }  # fmt: skip


def untrained(recipe):
    """Return a recipe's detector with random weights."""
    import torch

    from sodkit.engine.build import without_weights
    from sodkit.models import zoo

    torch.manual_seed(0)
    return zoo.build(without_weights(recipe.model), CLASSES).eval()


def random_detector(found: int, side: int, *, oriented: bool):
    """Return a detector that finds so many objects at random places in each window."""
    import torch

    from sodkit.data.batches import PatchDetections
    from sodkit.models.detector import DetectorModule

    class Random(DetectorModule):
        boxes = "oriented" if oriented else "horizontal"

        def __init__(self) -> None:
            super().__init__()
            self.generator = torch.Generator().manual_seed(0)

        def forward(self, batch, shuffle):
            raise NotImplementedError

        def detect(self, batch, keep):
            return [self.one() for _ in batch.sizes]

        def one(self) -> PatchDetections:
            def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
                return torch.rand(*shape, generator=self.generator) * (high - low) + low

            sizes = uniform(6, 14, found, 2).sort(dim=1, descending=True).values
            centres = uniform(8, side - 8, found, 2)
            upright = torch.cat([centres - sizes / 2, centres + sizes / 2], 1)
            obb = torch.cat([centres, sizes, uniform(-1.5, 1.5, found, 1)], 1)
            return PatchDetections(
                upright, uniform(0.1, 1, found),
                torch.randint(0, CLASSES, (found,), generator=self.generator),
                obb if oriented else None,
            )  # fmt: skip

    return Random().eval()


def _peak() -> int:
    """Return the most memory this process has had, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    main()
