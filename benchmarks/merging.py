"""How windows are merged, by what it does to the metrics on whole images.

    python benchmarks/merging.py CKPT ANN --name kit --csv benchmarks/results/merging.csv

Each checkpoint predicts once for each ``--windows`` (size and stride in px); what it finds in the
windows is then merged in every way and evaluated. So rows of one checkpoint differ by the merging
alone. ``--csv`` keeps its rows of other names, checkpoints and windows.
"""

from __future__ import annotations

import argparse
import csv
import time
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import torch

import sodkit
from sodkit.data.restriction import only_labels
from sodkit.engine.predict import by_image, files_in
from sodkit.engine.window_detection import detect, detect_batches
from sodkit.engine.window_plan import window_batches
from sodkit.tiling.gathered import ImageResult

METHODS = ("nms", "wbf", "nmm", "border")
METRICS = ("AP", "AP50", "AP75", "AP_eS", "AP_rS", "AP_gS", "AP_N")
HEAD = ("name", "checkpoint", "size", "stride", "method", "overlap", "detections", *METRICS)
KEY = 6


def main() -> None:
    """Fill the table."""
    options = _options()
    rows = _read(options.csv)
    for checkpoint, windows in product(options.checkpoint, options.windows):
        size, stride = map(int, windows.split("/"))
        for row in _measure(options, checkpoint, size, stride):
            rows[tuple(row[:KEY])] = row
            print(*row, flush=True)
        _write(options.csv, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path, nargs="+", help="checkpoints or runs' folders")
    parser.add_argument("ann", type=Path, help="annotations to measure on")
    parser.add_argument("--name", required=True, help="of the data, for the table")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--classes", help="that are measured; all: the default")
    parser.add_argument("--windows", nargs="+", default=["256/192"], metavar="SIZE/STRIDE")
    parser.add_argument("--overlaps", type=float, nargs="+", default=[0.3, 0.5, 0.7])
    parser.add_argument("--borders", type=float, nargs="+", default=[4.0], help="px, of border")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--csv", type=Path, default=Path("benchmarks/results/merging.csv"))
    return parser.parse_args()


def _measure(
    options: argparse.Namespace, checkpoint: Path, size: int, stride: int
) -> list[list[str]]:
    """Predict once, merge in every way, and return a row for each."""
    torch.set_num_threads(options.threads)
    device = torch.device("cpu")
    file = checkpoint
    if checkpoint.is_dir():
        file = checkpoint / "checkpoints" / "last.safetensors"
    loaded = sodkit.load_checkpoint(file, device)
    truth = sodkit.read_annotations(options.ann, images=options.images)
    folder = options.images or sodkit.find_images(options.ann, truth)
    own = replace(sodkit.PredictOptions.of(loaded.recipe), size=size, stride=stride)
    plan = window_batches(truth.images, size, stride, own.batch)
    run = partial(detect, loaded.detector, loaded.recipe, own, device, len(loaded.categories))
    began = time.perf_counter()
    images = files_in(folder, own)
    found = list(detect_batches(run, truth.images, plan, own, loaded.recipe, images))
    print(f"{checkpoint.name}: predicted in {time.perf_counter() - began:.0f} s", flush=True)
    labels = list(range(len(truth.categories)))
    if options.classes is not None:
        names = [category.name for category in truth.categories]
        labels = [names.index(name) for name in options.classes.split(",")]
    rows = []
    for method, overlap, border in product(METHODS, options.overlaps, options.borders):
        if method != "border" and border != options.borders[0]:
            continue
        ways = replace(own, merge=method, merge_nms=overlap, border=border)
        results = [one for _, one in by_image(found, truth.images, ways, loaded.recipe)]
        assert all(isinstance(one, ImageResult) for one in results), "an image cannot be read"
        merged = sodkit.Detections.concatenate([one.whole() for one in results])
        chosen = [only_labels(rows_, labels, len(truth.categories)) for rows_ in (truth, merged)]
        metrics = sodkit.evaluate(*chosen, sodkit.protocol_for(truth.kind)).metrics
        values = [metrics[name] for name in METRICS]
        shown = method if len(options.borders) == 1 or method != "border" else f"border {border:g}"
        rows.append([
            options.name, checkpoint.name, str(size), str(stride), shown, f"{overlap:g}",
            str(len(chosen[1])), *("" if value is None else f"{value:.4f}" for value in values),
        ])  # fmt: skip
    return rows


def _read(path: Path) -> dict[tuple[str, ...], list[str]]:
    if not path.is_file():
        return {}
    lines = list(csv.reader(path.read_text("utf-8").splitlines()))[1:]
    return {tuple(line[:KEY]): line for line in lines}


def _write(path: Path, rows: dict[tuple[str, ...], list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([HEAD, *(rows[key] for key in sorted(rows))])


if __name__ == "__main__":
    main()
