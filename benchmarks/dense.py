"""Dense oriented images: memory and CPU time of training, prediction, merging and evaluation.

    python benchmarks/dense.py --out benchmarks/results/dense.csv

Objects are ships in rows, ``--objects`` of them in one patch of ``--size`` px; detections are as
many as given, with duplicates as overlapping patches make them. Every stage runs in a process of
its own for each number of objects, so the peak of its memory is its own: "MB" is what it adds
to what the process held before. Linear means that MB and seconds grow with the number at most.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CLASSES = 9
MERGED_PATCHES = 16


def main() -> None:
    """Run every stage at every number of objects, and write the CSV."""
    options = _options()
    rows = []
    context = multiprocessing.get_context("spawn")
    for stage in options.stages:
        for objects in options.objects:
            with context.Pool(1) as pool:
                row = pool.apply(_measure, (stage, objects, options.size, options.recipe))
            rows.append(row)
            print(json.dumps(row), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--objects", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=list(STAGES))
    parser.add_argument("--size", type=int, default=800, help="of the patch, px")
    parser.add_argument("--recipe", default="cfinet-r18-demo-oriented")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/dense.csv"))
    return parser.parse_args()


def _measure(stage: str, objects: int, size: int, recipe: str) -> dict[str, object]:
    """Prepare a stage, run it, and say what it took."""
    import torch

    torch.set_num_threads(1)
    run, result = STAGES[stage](objects, size, recipe), None
    before, began = _peak(), time.process_time()
    result = run()
    seconds = time.process_time() - began
    return {
        "stage": stage,
        "recipe": recipe if stage in ("train", "predict") else "",
        "objects": objects,
        "result": result,
        "cpu_seconds": round(seconds, 3),
        "mb": round(_peak() - before, 1),
    }


def _peak() -> float:
    """Return the greatest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _boxes(count: int, size: int, seed: int = 0) -> np.ndarray:
    """Return oriented boxes (N, 5) in rows that fill a square of ``size`` px."""
    rng = np.random.default_rng(seed)
    columns = int(np.ceil(np.sqrt(count)))
    pitch = size / columns
    number = np.arange(count)
    centre = np.stack([number % columns, number // columns], 1) * pitch + pitch / 2
    long = rng.uniform(0.7, 0.95, count) * pitch
    sides = np.stack([long, long * rng.uniform(0.3, 0.5, count)], 1)
    return np.column_stack([centre, sides, rng.uniform(-1.5, 1.5, count)])


def _detector(objects: int, size: int, name: str, *, training: bool):
    """Return a detector and a batch of one dense patch."""
    import torch

    from sodkit.config import load_recipe
    from sodkit.data.batches import Batch, Target
    from sodkit.engine.build import without_weights
    from sodkit.models import zoo
    from sodkit.models.parts import rotated_coders

    recipe = load_recipe(name)
    torch.manual_seed(0)
    detector = zoo.build(without_weights(recipe.model), CLASSES).train(training)
    obb = torch.from_numpy(_boxes(objects, size)).float()
    target = Target(
        rotated_coders.enclosing(obb), torch.arange(objects) % CLASSES, torch.zeros(0, 4), obb
    )
    images = torch.randn(1, 3, size, size)
    return detector, Batch(images, ((size, size),), ((1.0, 1.0),), (target,))


def _train(objects: int, size: int, recipe: str) -> Callable[[], object]:
    import torch

    from sodkit.models.parts.sampling import random_order

    detector, batch = _detector(objects, size, recipe, training=True)

    def run() -> object:
        losses = detector(batch, random_order(torch.Generator().manual_seed(0)))
        torch.stack(list(losses.values())).sum().backward()
        return len(losses)

    return run


def _predict(objects: int, size: int, recipe: str) -> Callable[[], object]:
    from sodkit.settings import Keep

    detector, batch = _detector(objects, size, recipe, training=False)
    keep = Keep(score=0.0, nms=0.1, max_per_patch=2000)
    return lambda: len(detector.detect(batch, keep)[0].scores)


def _records(objects: int, size: int):
    """Return annotations of one image and detections: every object found twice, nearly."""
    from sodkit.data.records import Annotations, Category, Detections, ImageRecord
    from sodkit.geometry.rotated import canonical, obb_to_xywh

    rng = np.random.default_rng(1)
    obb = _boxes(objects, size)
    labels = np.arange(objects) % CLASSES
    near = canonical(
        np.tile(obb, (2, 1)) + rng.normal(0, 0.3, (2 * objects, 5)) * [1, 1, 1, 1, 0.1]
    )
    near[:, 2:4] = np.maximum(near[:, 2:4], 0.5)
    truth = Annotations(
        images=(ImageRecord(1, "dense.png", size, size),),
        categories=tuple(Category(k, f"class {k}") for k in range(CLASSES)),
        ids=np.arange(objects) + 1,
        image_index=np.zeros(objects, np.int64),
        labels=labels,
        xywh=obb_to_xywh(obb),
        area=obb[:, 2] * obb[:, 3],
        ignore=np.zeros(objects, np.bool_),
        obb=obb,
    )
    found = Detections(
        np.ones(2 * objects, np.int64),
        np.tile(labels, 2),
        rng.uniform(0.05, 1, 2 * objects),
        obb_to_xywh(near),
        near,
    )
    return truth, found


def _merge(objects: int, size: int, recipe: str) -> Callable[[], object]:
    """Merge what ``MERGED_PATCHES`` patches of so many detections make of one image."""
    from sodkit.tiling.merge import merge_patches

    _, found = _records(objects * MERGED_PATCHES // 2, size * 4)
    merge_patches(found.take(np.arange(10)))  # compiled
    return lambda: len(merge_patches(found))


def _evaluate(objects: int, size: int, recipe: str) -> Callable[[], object]:
    from sodkit.evaluation.evaluate import evaluate
    from sodkit.evaluation.protocol import protocol_for

    truth, found = _records(objects, size)
    few, some = _records(10, 100)
    evaluate(few, some, protocol_for("oriented"))  # compiled
    return lambda: round(evaluate(truth, found, protocol_for("oriented")).metrics["AP50"] or 0, 3)


STAGES: dict[str, Callable[[int, int, str], Callable[[], object]]] = {
    "train": _train,
    "predict": _predict,
    "merge": _merge,
    "evaluate": _evaluate,
}

if __name__ == "__main__":
    main()
