"""CPU time of the training loader beside its floor: decoding and resizing alone, in turns.

    python benchmarks/feeding.py --count 32 --repeat 20

The loader reads patches as `sodkit train` does: decode, check, resize by 1.5, flip, pad, join to
batches of bytes. The floor reads the same files with OpenCV and resizes them, no more. Both run in
this process and take turns batch by batch, so that other processes disturb both alike; an epoch's
ratio is of their sums, and the median over the epochs is printed, with the quartiles. A worker's
batches also go through shared memory: its CPU time, as Linux counts it, and this process's are
added, and the floor takes its turns between the batches. Patches are painted, or with
`--images FOLDER` those of a folder, all of one size. Prints a table, and with `--csv FILE` appends
its rows.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import dataclass
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


def main() -> None:
    """Measure and print."""
    options = _options()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        images = options.images or painted(Path(folder), options.count)
        rows = _measure(images, options)
    print(f"{'run':18s} {'patches/s and core':>18s} {'of the floor':>13s} {'quartiles':>13s}")
    for row in rows:
        print(f"{row.run:18s} {row.rate:18.1f} {row.ratio:13.3f} {row.lower:6.3f} {row.upper:6.3f}")
    if options.csv:
        _append(options, rows)


@dataclass(frozen=True)
class Row:
    """A run: patches a second and core, and its CPU time in times of the floor's."""

    run: str
    rate: float
    ratio: float
    lower: float
    upper: float


def _measure(images: Path, options: argparse.Namespace) -> list[Row]:
    found = list_images([images])
    records, folder = found.images, found.folder
    none = np.zeros(0, np.int64)
    annotations = Annotations(
        records, (Category(1, "object"),), none, none, none,
        np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_),
    )  # fmt: skip
    dataset = TrainingSet(annotations, folder, INPUT, seed=0)
    files = [str(folder / record.file_name) for record in records]
    rows = []
    for workers in (0, 1):
        batches = Batches(dataset, batch=options.batch, seed=0, workers=workers)
        # the first epoch starts the worker and fills the system's cache
        pairs = [_epoch(batches, epoch, files) for epoch in range(options.repeat + 1)][1:]
        floor, loader = np.array(pairs).T
        lower, middle, upper = np.quantile(loader / floor, (0.25, 0.5, 0.75)).tolist()
        name = "loader, 1 worker" if workers else "loader"
        if not workers:
            rows.append(Row("floor", len(files) / float(np.median(floor)), 1.0, 1.0, 1.0))
        rows.append(Row(name, len(files) / float(np.median(loader)), middle, lower, upper))
    return rows


def _epoch(batches: Batches, epoch: int, files: list[str]) -> tuple[float, float]:
    """Return the CPU seconds of the floor and of the loader for all files once."""
    workers = [child.pid for child in multiprocessing.active_children() if child.pid]
    before, floor = _workers_cpu(workers), 0.0
    start, place = time.process_time(), 0
    for batch in batches.epoch(epoch):
        turn = time.process_time()
        _floor(files[place : place + len(batch.sizes)])
        floor += time.process_time() - turn
        place += len(batch.sizes)
    return floor, time.process_time() - start - floor + _workers_cpu(workers) - before


def _floor(files: list[str]) -> None:
    for file in files:
        image = cv2.imread(file, cv2.IMREAD_COLOR)
        if image is None:
            sys.exit(f"{file}: cannot be read")
        size = tuple(round(side * INPUT.scale) for side in image.shape[1::-1])
        cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def _workers_cpu(numbers: list[int]) -> float:
    """Return the CPU seconds of running processes so far, to a tick of Linux, 10 ms."""
    stats = (Path(f"/proc/{number}/stat").read_text() for number in numbers)
    ticks = (sum(map(int, stat.rpartition(")")[2].split()[11:13])) for stat in stats)
    return sum(ticks) / os.sysconf("SC_CLK_TCK")


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


def _append(options: argparse.Namespace, rows: list[Row]) -> None:
    new = not options.csv.exists()
    with options.csv.open("a", newline="") as file:
        if new:
            file.write(f"# python {' '.join(sys.argv)}\n")
        writer = csv.writer(file, lineterminator="\n")
        if new:
            names = ["run", "patches_per_second", "ratio", "lower_quartile", "upper_quartile"]
            writer.writerow(["patches", "batch", "repeat", *names])
        for row in rows:
            figures = [f"{value:.3f}" for value in (row.ratio, row.lower, row.upper)]
            writer.writerow(
                [options.count, options.batch, options.repeat, row.run, f"{row.rate:.2f}", *figures]
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=32, help="patches that are painted")
    parser.add_argument("--images", type=Path, help="a folder of patches, instead of painted ones")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=20, help="epochs")
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
