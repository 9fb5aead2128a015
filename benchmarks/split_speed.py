"""How fast ``sodkit split`` is, against the floor: decoding each JPEG once, encoding its patches.

    python benchmarks/split_speed.py --out benchmarks/results/split_speed.csv

Images of 4000 x 3000 px are made (smooth ground with fine texture). Floors and split run in turn on
the same threads, pair by pair; the median of the pairs' ratios is reported, by processor time (user
and system, which other programs on the machine disturb less) and by wall time. Three floors:

floor            decodes and encodes as one does with OpenCV; no annotations, no files
floor and files  also writes the same bytes plainly
lean floor       as ``floor``, but decodes as the split does: into memory it has already

Every run writes to a folder of its own and none is removed before the end: a file system such as
ext4 is slow to make files where some have just been removed. What has been written goes to the disk
between the runs, not in them. Peak memory is measured in processes of their own.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import local

import cv2
import numpy as np

from sodkit.data.formats import read_annotations
from sodkit.tiling.grid import windows
from sodkit.tiling.settings import SODA_A, SODA_D, SplitSettings
from sodkit.tiling.split_dataset import split_dataset

WIDTH, HEIGHT = 4000, 3000


@dataclass(frozen=True)
class Case:
    """Objects and ignore regions on every image, and the rules."""

    name: str
    objects: int
    regions: int
    oriented: bool
    settings: SplitSettings


CASES = (
    Case("200 upright, 6 regions", 200, 6, False, SODA_D),
    Case("2000 oriented, 6 regions", 2000, 6, True, SODA_A),
)


def make_images(folder: Path, count: int) -> None:
    """Write JPEGs with as much detail as an aerial photo: some 4 MB each."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        coarse = rng.integers(40, 215, (HEIGHT // 50, WIDTH // 50, 3), np.uint8)
        image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        noise = cv2.GaussianBlur(rng.normal(0, 22, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1)
        image = np.clip(image + 2 * noise[..., None], 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:04}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 92])


def make_annotations(path: Path, case: Case, count: int) -> None:
    """Write a COCO file of small objects and larger ignore regions."""
    rng = np.random.default_rng(1)
    images, rows = [], []
    for image in range(count):
        name = f"{image:04}.jpg"
        images.append({"id": image, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for number in range(case.objects + case.regions):
            region = number >= case.objects
            w, h = rng.uniform(150, 500, 2) if region else rng.uniform(6, 40, 2)
            x, y = rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h)
            row = {"image_id": image, "category_id": 9 if region else int(rng.integers(1, 9))}
            if case.oriented:
                row["obb"] = [x + w / 2, y + h / 2, w, h, float(rng.uniform(-1.5, 1.5))]
            else:
                row["bbox"] = [x, y, w, h]
            rows.append(row)
    names = [{"id": i, "name": f"class {i}"} for i in range(1, 9)] + [{"id": 9, "name": "ignore"}]
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": names}))


def floor(
    images: Path, settings: SplitSettings, workers: int, out: Path | None, *, lean: bool = False
) -> None:
    """Decode each image once and encode its patches; write them if ``out`` is given."""
    places = windows(WIDTH, HEIGHT, settings.size, settings.stride)
    options = [cv2.IMWRITE_JPEG_QUALITY, settings.quality]
    memory = local()

    def decode(path: Path) -> np.ndarray:
        if not lean:
            return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_BGR)
        if not hasattr(memory, "pixels"):
            memory.pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        return cv2.imread(str(path), memory.pixels, cv2.IMREAD_COLOR_BGR)

    def one(path: Path) -> None:
        image = decode(path)
        for x, y in places:
            patch = image[y : y + settings.size, x : x + settings.size]
            _, data = cv2.imencode(".jpg", patch, options)
            if out is not None:
                (out / f"{path.stem}_{x}_{y}.jpg").write_bytes(data.tobytes())

    if out is not None:
        out.mkdir()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, sorted(images.iterdir())))


def split(images: Path, annotations: Path, case: Case, workers: int, out: Path) -> None:
    """Do what the command does."""
    split_dataset(read_annotations(annotations), images, out, case.settings, workers=workers)


def timed(work: Callable[[Path], None], out: Path) -> tuple[float, float]:
    """Return (processor seconds, wall seconds) of work that writes to ``out``."""
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work(out)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.perf_counter() - wall


def measure(
    case: Case, folder: Path, annotations: Path, workers: int, pairs: int
) -> list[dict[str, object]]:
    """Run floor and split in turn; return a row a run."""
    images = folder / "images"
    runs: dict[str, Callable[[Path], None]] = {
        "floor": lambda out: floor(images, case.settings, workers, None),
        "floor and files": lambda out: floor(images, case.settings, workers, out),
        "lean floor": lambda out: floor(images, case.settings, workers, None, lean=True),
        "split": lambda out: split(images, annotations, case, workers, out),
    }
    outs = Path(tempfile.mkdtemp(dir=folder))
    rows: list[dict[str, object]] = []
    for pair in range(pairs + 1):
        for name, work in runs.items():
            out = outs / f"{pair} {name}"
            os.sync()
            used, wall = timed(work, out)
            if pair:  # the first one warms caches
                rows.append({"case": case.name, "pair": pair, "what": name,
                             "cpu_s": round(used, 3), "wall_s": round(wall, 3)})  # fmt: skip
    return rows


def ratio(rows: list[dict[str, object]], below: str, column: str) -> float:
    """Return the median over the pairs of split / ``below``."""
    table = {(row["pair"], row["what"]): float(str(row[column])) for row in rows}
    pairs = sorted({pair for pair, _ in table}, key=str)
    return statistics.median(table[pair, "split"] / table[pair, below] for pair in pairs)


PEAK = """
import resource, sys
from pathlib import Path
from sodkit.data.formats import read_annotations
from sodkit.tiling.split_dataset import split_dataset
from sodkit.tiling.settings import PROFILES
images, annotations, out, profile, workers = sys.argv[1:]
split_dataset(read_annotations(Path(annotations)), Path(images), Path(out), PROFILES[profile],
              workers=int(workers))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_mb(folder: Path, annotations: Path, case: Case, workers: int) -> float:
    """Return the peak memory of a split in a process of its own, in MB."""
    profile = "soda-a" if case.oriented else "soda-d"
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(folder / "images"), str(annotations), str(folder / "out"),
         profile, str(workers)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    shutil.rmtree(folder / "out")
    return int(done.stdout) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="CSV of every run")
    chosen = parser.parse_args()
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder / "images", chosen.images)
        for number, case in enumerate(CASES):
            annotations = folder / f"{number}.json"
            make_annotations(annotations, case, chosen.images)
            own = measure(case, folder, annotations, chosen.workers, chosen.pairs)
            rows += own
            for below in ("floor", "floor and files", "lean floor"):
                cpu, wall = ratio(own, below, "cpu_s"), ratio(own, below, "wall_s")
                print(f"{case.name}: split / {below}: {cpu:.3f} by processor, {wall:.3f} by wall")
        for number, case in enumerate(CASES):
            peak = peak_mb(folder, folder / f"{number}.json", case, chosen.workers)
            rows.append({"case": case.name, "what": f"peak MB, {chosen.images} images",
                         "cpu_s": round(peak)})  # fmt: skip
            print(f"{case.name}: {peak:.0f} MB at most, {chosen.images} images")
    if chosen.out is not None:
        with chosen.out.open("w", newline="") as file:
            file.write(f"# {' '.join(['python', *sys.argv])}\n")
            file.write(f"# {platform.machine()}, {os.cpu_count()} cores, Python "
                       f"{platform.python_version()}, OpenCV {cv2.__version__}\n")  # fmt: skip
            writer = csv.DictWriter(file, ["case", "pair", "what", "cpu_s", "wall_s"])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
