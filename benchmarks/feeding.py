"""CPU time of the training loader beside its floor: decoding and resizing alone, in turns.

    python benchmarks/feeding.py --count 32 --repeat 7

The loader reads patches as `sodkit train` does: decode, check, resize by 1.5, flip, pad, join to
batches of bytes. The floor reads the same files with OpenCV and resizes them, no more. Both run on
one core; a figure is the least over the repeats, as other processes only ever add time. By a worker
the batches also go through shared memory; its CPU time and this process's are added. Patches are
painted, or with `--images FOLDER` those of a folder, all of one size. Prints a table, and with
`--csv FILE` appends its rows.
"""

from __future__ import annotations

import argparse
import csv
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from sodkit.data.images.listing import list_images
from sodkit.data.records import Annotations, Category
from sodkit.data.samples.loader import Batches
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.settings import Input

INPUT = Input()
SIDE = INPUT.patch
FLOOR = "floor"


def main() -> None:
    """Measure and print."""
    options = _options()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        images = options.images or painted(Path(folder), options.count)
        rows = _measure(images, options)
    print(f"{'run':18s} {'patches/s and core':>18s} {'of the floor':>13s}")
    for name, (rate, ratio) in rows.items():
        print(f"{name:18s} {rate:18.1f} {ratio:13.3f}")
    if options.csv:
        _append(options, rows)


def _measure(images: Path, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return patches a second and core of every run, and its time in times of the floor's."""
    found = list_images([images])
    records, folder = found.images, found.folder
    none = np.zeros(0, np.int64)
    annotations = Annotations(
        records, (Category(1, "object"),), none, none, none,
        np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_),
    )  # fmt: skip
    dataset = TrainingSet(annotations, folder, INPUT, seed=0)
    files = [str(folder / record.file_name) for record in records]

    def load(workers: int) -> None:
        batches = Batches(dataset, INPUT, batch=options.batch, seed=0, workers=workers)
        for _ in batches.epoch(0):
            pass

    runs: dict[str, Callable[[], None]] = {
        FLOOR: lambda: _floor(files),
        "loader": lambda: load(0),
        "loader, 1 worker": lambda: load(1),
    }
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(options.repeat + 1):  # the first fills the system's cache
        for name, run in runs.items():
            before = _cpu()
            run()
            seconds[name] = min(seconds[name], _cpu() - before)
    return {name: (len(files) / one, one / seconds[FLOOR]) for name, one in seconds.items()}


def _floor(files: list[str]) -> None:
    for file in files:
        image = cv2.imread(file, cv2.IMREAD_COLOR)
        if image is None:
            sys.exit(f"{file}: cannot be read")
        size = tuple(round(side * INPUT.scale) for side in image.shape[1::-1])
        cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def _cpu() -> float:
    """Return the CPU seconds of this process and of those it started that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def painted(folder: Path, count: int) -> Path:
    """Write patches with the detail of photographs, as `sodkit split` writes them."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 256, (SIDE // 16, SIDE // 16, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, 6, smooth.shape)
        image = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return folder


def _append(options: argparse.Namespace, rows: dict[str, tuple[float, float]]) -> None:
    new = not options.csv.exists()
    with options.csv.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(["patches", "batch", "repeat", "run", "patches_per_second", "ratio"])
        for name, (rate, ratio) in rows.items():
            writer.writerow(
                [options.count, options.batch, options.repeat, name, f"{rate:.2f}", f"{ratio:.3f}"]
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=32, help="patches that are painted")
    parser.add_argument("--images", type=Path, help="a folder of patches, instead of painted ones")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
