"""Short trainings on synthetic scenes, and what they are measured by.

Shared by ``ablation.py`` and ``systems.py``. Scenes are made once. A run that was killed goes on
where it was; one that has its result on disk is only read.
"""

from __future__ import annotations

import csv
import io
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from sodkit.analysis.proposal_study import best_proposals
from sodkit.config import recipe_from_dict
from sodkit.data.formats import read_annotations
from sodkit.engine.build import without_weights
from sodkit.engine.checkpoint import Checkpoint, load_checkpoint
from sodkit.engine.paths import DataPaths
from sodkit.engine.predict import predict_images
from sodkit.engine.training_run import STATE, RunPlan, execute
from sodkit.errors import SodkitError, UsageError
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.proposal_recall import evaluate_proposals
from sodkit.evaluation.protocol import AreaRange, protocol_for
from sodkit.files import write_text
from sodkit.models import zoo
from sodkit.settings import Recipe
from sodkit.synthetic import make_dataset
from sodkit.tiling.settings import SplitSettings
from sodkit.tiling.split_dataset import split_dataset

Metrics = Mapping[str, float | None]
Row = dict[str, float | str | None]

CPU = torch.device("cpu")
PROPOSALS = 300
PROPOSAL_NMS = 0.7
"""Proposals are compared after this; by their recipes CRPN's pass .5, the RPN's .7."""


@dataclass(frozen=True, slots=True)
class Scenes:
    """Where scenes and their patches are: ``root/data`` and ``root/patches/SUBSET``."""

    root: Path

    @property
    def data(self) -> Path:
        """The folder of ``train.json``, ``test.json`` and the images."""
        return self.root / "data"

    def patches(self, subset: str) -> Path:
        """Return the folder of a subset's patches."""
        return self.root / "patches" / subset


def make_scenes(root: Path, recipe: Recipe, counts: Mapping[str, int], width: int) -> Scenes:
    """Make scenes and patches, unless an earlier call did.

    Args:
        root: see ``Scenes``.
        recipe: gives the kind of box, and side and stride of the patches.
        counts: scenes of each subset.
        width: of the scenes in px; they are 4 : 3.

    Raises:
        SystemExit: another program is making them; the reason is printed.
    """
    scenes = Scenes(root)
    settings = SplitSettings(size=recipe.input.patch, stride=recipe.input.stride)
    size = {"width": width, "height": width * 3 // 4}
    with _ends_by_a_message(root):
        for subset, count in counts.items():
            file = scenes.data / f"{subset}.json"
            if not file.is_file():
                make_dataset(
                    scenes.data, images=count, seed=0, boxes=recipe.boxes, subset=subset, **size
                )
            split_dataset(read_annotations(file), scenes.data, scenes.patches(subset), settings)
    return scenes


@contextmanager
def _ends_by_a_message(out: Path) -> Iterator[None]:
    """Print an error of ours, after ``out`` if it names no place, and end with its exit code."""
    try:
        yield
    except SodkitError as error:
        place = f"{out}: " if error.where is None else ""
        print(f"{place}{error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def result(
    file: Path, recipe: Recipe, scenes: Scenes, make: Callable[[], Metrics]
) -> dict[str, float | None]:
    """Return the metrics in a file; let ``make`` run, and write them, if they are not there.

    Args:
        file: JSON, which also holds the recipe and the number of scenes.
        recipe: of the run.
        scenes: that it was trained and measured on.
        make: trains and measures.
    """
    if not file.is_file():
        origin = {"recipe": recipe.model_dump(mode="json"), "images": _images(scenes)}
        write_text(file, json.dumps(origin | {"metrics": dict(make())}, indent=2) + "\n")
    content = json.loads(file.read_text("utf-8"))
    if not _same(content["recipe"], recipe) or content["images"] != _images(scenes):
        sys.exit(f"{file.parent} was run with other settings: give another --out")
    metrics: dict[str, float | None] = content["metrics"]
    return metrics


def _same(data: dict[str, Any], recipe: Recipe) -> bool:
    """Return whether plain data are the recipe; settings that came later have their defaults."""
    try:
        return recipe_from_dict(data, "result") == recipe
    except UsageError:
        return False


def _images(scenes: Scenes) -> dict[str, list[list[int]]]:
    """Return the sizes of all scenes by subset."""
    return {
        file.stem: [[i.width, i.height] for i in read_annotations(file).images]
        for file in sorted(scenes.data.glob("*.json"))
    }


def train(recipe: Recipe, patches: Path, out: Path, *, workers: int, threads: int) -> Path:
    """Train, from where an earlier call was stopped; return the checkpoint.

    Raises:
        SystemExit: SIGTERM came, or it cannot train; the reason is printed.
    """
    log, resume = out / "metrics.csv", (out / STATE).is_file()
    epochs = len(log.read_text("utf-8").splitlines()) - 1 if log.is_file() else 0
    if not resume or epochs < recipe.schedule.epochs:
        plan = RunPlan(recipe, DataPaths(str(patches)), out, resume=resume)
        with _ends_by_a_message(out):
            execute(plan, device="cpu", workers=workers, threads=threads)
    return out / "checkpoints" / "last.safetensors"


def scene_metrics(loaded: Checkpoint, scenes: Scenes) -> Metrics:
    """Return AP on the whole held-out scenes."""
    truth = read_annotations(scenes.data / "test.json")
    found = predict_images(loaded.detector, loaded.recipe, truth.images, scenes.data, device=CPU)
    return evaluate(truth, found, protocol_for(truth.kind)).metrics


def proposal_metrics(checkpoint: Path, folder: Path, areas: Sequence[AreaRange] = ()) -> Metrics:
    """Return what 300 proposals do on the patches of a folder, by the same NMS for all.

    Args:
        checkpoint: of a detector that proposes.
        folder: of patches.
        areas: further ranges to measure in.
    """
    loaded = with_proposal_nms(load_checkpoint(checkpoint, CPU), PROPOSAL_NMS)
    patches = read_annotations(folder)
    proposals = best_proposals(loaded, patches.images, folder, PROPOSALS, device=CPU)
    protocol = protocol_for(patches.kind)
    protocol = replace(protocol, areas=(*protocol.areas, *areas))
    # upright proposals are compared with oriented ones: of both what encloses them counts
    patches, proposals = replace(patches, obb=None), replace(proposals, obb=None)
    return evaluate_proposals(patches, proposals, protocol, (PROPOSALS,)).metrics


def with_proposal_nms(loaded: Checkpoint, nms: float) -> Checkpoint:
    """Return a detector whose proposals pass another NMS in testing, its weights unchanged."""
    data = loaded.recipe.model_dump(mode="json")
    recipe = recipe_from_dict(data | {"model": _with(data["model"], "nms_test", nms)}, "recipe")
    detector = zoo.build(without_weights(recipe.model), len(loaded.categories))
    detector.load_state_dict(loaded.detector.state_dict())
    return replace(loaded, detector=detector.eval(), recipe=recipe)


def _with(data: Any, key: str, value: float) -> Any:
    """Return plain data with ``value`` wherever ``key`` is."""
    if not isinstance(data, dict):
        return data
    return {k: value if k == key else _with(v, key, value) for k, v in data.items()}


def write_table(path: Path, rows: Sequence[Row], name: str, metrics: Sequence[str]) -> None:
    """Write the runs, then mean and spread (standard deviation) over the seeds.

    Args:
        path: the CSV.
        rows: a run each, with ``name``, ``seed`` and the metrics.
        name: the column that says what was run.
        metrics: the other columns.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([name, "seed", *metrics])
    means, spreads = (_summary(rows, kind, name, metrics) for kind in ("mean", "spread"))
    for row in [*rows, *means, *spreads]:
        values = (row[metric] for metric in metrics)
        cells = [f"{v:.4f}" if isinstance(v, float) else "" for v in values]
        writer.writerow([row[name], row["seed"], *cells])
    write_text(path, stream.getvalue())


def _summary(rows: Sequence[Row], kind: str, name: str, metrics: Sequence[str]) -> list[Row]:
    """Return a row a variant: the mean, or the standard deviation where there are two seeds."""
    summary: list[Row] = []
    for variant in dict.fromkeys(row[name] for row in rows):
        out: Row = {name: variant, "seed": kind}
        for metric in metrics:
            own = [row[metric] for row in rows if row[name] == variant]
            values = [float(v) for v in own if v is not None]
            mean = statistics.fmean(values) if values else None
            spread = statistics.stdev(values) if len(values) > 1 else None
            out[metric] = mean if kind == "mean" else spread
        summary.append(out)
    return summary
