"""Real images nobody trained on: train on one place, measure on another, and the other way round.

    python benchmarks/real_images.py --data kit --out real --csv benchmarks/results/real_images.csv

``--data`` is a folder of the images of two sequences and their YOLO text (KIT AIS over Munich:
docs/real-data.md). Frames of a sequence show one place seconds apart, so a sequence is trained on
or measured, never both. All five classes are trained; cars are measured, since of the others there
are one or two an image. Every detector is trained at full size and on images halved (cars of 10 to
16 px), with the same patches, steps and seeds; a seed decides weights, order and sampling. AP is
measured on whole images. Hours: killed and called again it goes on, and a row that the table has is
not run again, so several calls with other ``--sizes`` or ``--seeds`` fill one table.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import torch

import sodkit
from sodkit.data.restriction import only_labels
from sodkit.tiling.settings import SplitSettings
from sodkit.tiling.split_dataset import split_dataset

SEQUENCES = ("MOS1*.png", "MunichStreet02-*.png")
DIRECTIONS = {"street": (0, 1), "motorway": (1, 0)}
"""What is measured: the numbers of the sequences to train on and to measure on."""

SIZES = {"full": (1.0, 384, 320), "half": (0.5, 256, 192)}
"""Factor of the images; size and stride of the patches in px."""

VARIANTS = {
    "cfinet": (),
    "cfinet-positives": ("model.crpn.coarse_normalizer=positives",),
    "faster-rcnn": ("model.kind=faster-rcnn", "model.imitation=null"),
}
METRICS = ("AP", "AP50", "AP75", "AP_eS", "AP_rS", "AP_gS", "AP_N")
KEY = ("measured", "size", "steps", "variant", "seed")


@dataclass(frozen=True)
class Job:
    """One training and its measurement."""

    measured: str
    size: str
    steps: int
    variant: str
    seed: int

    @property
    def key(self) -> tuple[str, ...]:
        """The first cells of its row."""
        return self.measured, self.size, str(self.steps), self.variant, str(self.seed)


def main() -> None:
    """Train and measure what the table lacks; write it after every run."""
    options = _options()
    torch.set_num_threads(options.threads)
    rows = _read(options.csv)
    for seed, measured, size, variant in product(
        options.seeds, options.measured, options.sizes, options.variants
    ):
        job = Job(measured, size, options.steps, variant, seed)
        if job.key in rows:
            continue
        start = time.perf_counter()
        metrics = _run(options, job)
        rows[job.key] = [*(f"{v:.4f}" for v in metrics), f"{time.perf_counter() - start:.0f}"]
        _write(options.csv, rows)
        print(*job.key, *rows[job.key], flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="images, patches and runs")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600, help="of four patches, at least")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--measured", nargs="+", choices=DIRECTIONS, default=list(DIRECTIONS))
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _run(options: argparse.Namespace, job: Job) -> list[float]:
    """Return the metrics of a job."""
    train, test = (_images(options, job.size, number) for number in DIRECTIONS[job.measured])
    patches = _patches(train, job.size)
    out = options.out / "-".join(job.key)
    recipe = _recipe(job, len(sodkit.read_annotations(patches).images))
    resume = (out / "checkpoints" / "state.safetensors").is_file()
    if not (out / "done").is_file():
        paths = sodkit.DataPaths(str(patches))
        plan = sodkit.RunPlan(recipe, paths, out, resume=resume, overwrite=not resume)
        sodkit.execute(plan, device="cpu", workers=0, threads=options.threads)
        (out / "done").touch()
    device = torch.device("cpu")
    loaded = sodkit.load_checkpoint(out / "checkpoints" / "last.safetensors", device)
    truth = sodkit.read_annotations(test)
    found = sodkit.predict_images(loaded.detector, loaded.recipe, truth.images, test, device=device)
    sodkit.write_predictions(out / "found.json", found, truth.categories)
    cars, found = (only_labels(rows, [0], len(truth.categories)) for rows in (truth, found))
    metrics = sodkit.evaluate(cars, found, sodkit.protocol_for(truth.kind)).metrics
    values = (metrics[name] for name in METRICS)
    return [math.nan if value is None else value for value in values]


def _recipe(job: Job, patches: int) -> sodkit.Recipe:
    """Return the recipe of a job: as many epochs as its steps need."""
    _, patch, stride = SIZES[job.size]
    epochs = math.ceil(job.steps / math.ceil(patches / 4))
    budget = ("schedule.batch=4", f"schedule.epochs={epochs}", f"seed={job.seed}")
    tiles = (f"input.patch={patch}", f"input.stride={stride}")
    return sodkit.load_recipe("cfinet-r18-demo", [*VARIANTS[job.variant], *budget, *tiles])


def _images(options: argparse.Namespace, size: str, number: int) -> Path:
    """Return the folder of a sequence at a size; make it if it is not there."""
    folder = options.out / "data" / f"{size}-{number}"
    factor = SIZES[size][0]
    if not (folder / "obj.names").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(options.data.glob(SEQUENCES[number])):
            image = cv2.imread(str(path))
            small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / path.name), small)
            shutil.copy(path.with_suffix(".txt"), folder)
        shutil.copy(options.data / "obj.names", folder)
    return folder


def _patches(folder: Path, size: str) -> Path:
    """Return the folder of a sequence's patches; split it if an earlier call did not."""
    _, patch, stride = SIZES[size]
    out = folder.with_name(f"{folder.name}-patches")
    split_dataset(
        sodkit.read_annotations(folder), folder, out, SplitSettings(size=patch, stride=stride)
    )
    return out


def _read(path: Path) -> dict[tuple[str, ...], list[str]]:
    """Return the runs of a table by their key."""
    if not path.is_file():
        return {}
    lines = list(csv.reader(path.read_text("utf-8").splitlines()))[1:]
    runs = (line for line in lines if line[len(KEY) - 1].isdigit())
    return {tuple(line[: len(KEY)]): line[len(KEY) :] for line in runs}


def _write(path: Path, rows: dict[tuple[str, ...], list[str]]) -> None:
    """Write the runs, and mean and standard deviation over the seeds of every group."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*KEY, *METRICS, "seconds"])
    writer.writerows([*key, *rows[key]] for key in sorted(rows))
    for group in sorted({key[:-1] for key in rows}):
        runs = [list(map(float, rows[key])) for key in sorted(rows) if key[:-1] == group]
        columns = list(zip(*runs, strict=True))
        writer.writerow([*group, "mean", *(f"{statistics.fmean(c):.4f}" for c in columns)])
        if len(runs) > 1:
            writer.writerow([*group, "spread", *(f"{_spread(c):.4f}" for c in columns)])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(stream.getvalue(), "utf-8")


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation over runs, NaN if a value is: no object of that size."""
    return math.nan if any(map(math.isnan, values)) else statistics.stdev(values)


if __name__ == "__main__":
    main()
