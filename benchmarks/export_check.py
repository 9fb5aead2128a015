"""Whether an exported detector finds what ``predict`` finds: the table in docs/export.md.

For each recipe a small detector with random weights is exported, and the page beside the graph run
on an image of several windows. Small: ResNet-18, windows of 96 px, the recipe's head.

    python benchmarks/export_check.py [--recipes NAME ...] [--out FOLDER]

Of random weights many scores are equal, so that the last bits decide which of two boxes NMS keeps.
A detector that was trained says more:

    python benchmarks/export_check.py --image FILE --checkpoints FILE ...
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from sodkit.arrays import ByteArray
from sodkit.config import builtin_names, load_recipe
from sodkit.data.records import Category
from sodkit.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sodkit.engine.export import check_exportable, export_checkpoint, page_of
from sodkit.engine.predict import predict_images
from sodkit.errors import UsageError
from sodkit.models import zoo

SMALL = ("input.patch=96", "input.stride=64", "keep.max_per_patch=50", "keep.score=0.001")
CLASSES = (Category(1, "car"), Category(2, "person"), Category(3, "boat"))
RGB = np.random.default_rng(0).integers(0, 256, (110, 150, 3), np.uint8)


@dataclass(frozen=True)
class Difference:
    """Of the detections of page and ``predict``.

    Attributes:
        both: as many are found by both.
        score: the greatest difference of the scores of those.
        box: of their boxes' numbers, px.
        alone: as many are found by one of the two only.
    """

    both: int
    score: float
    box: float
    alone: int


def small(name: str) -> Checkpoint:
    """Return a detector of a recipe with random weights, all of which matter."""
    recipe = load_recipe(name, SMALL)
    if hasattr(recipe.model, "backbone"):
        more = ("model.backbone.name=resnet18", "model.backbone.weights=null")
        recipe = load_recipe(name, (*SMALL, *more))
    torch.manual_seed(0)
    detector = zoo.build(recipe.model, len(CLASSES))
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "small.safetensors"
        save_checkpoint(file, detector, recipe, CLASSES)
        return load_checkpoint(file, torch.device("cpu"))


def trained(file: Path) -> Checkpoint:
    """Return a checkpoint that ``predict`` runs in float32, as the graph is."""
    checkpoint = load_checkpoint(file, torch.device("cpu"))
    schedule = checkpoint.recipe.schedule.model_copy(update={"precision": "float32"})
    recipe = checkpoint.recipe.model_copy(update={"schedule": schedule})
    return replace(checkpoint, recipe=recipe)


def compare(checkpoint: Checkpoint, page: Path, image: ByteArray = RGB) -> Difference:
    """Return how what the page finds differs from what ``predict`` does, pair by nearest box."""
    spec = importlib.util.spec_from_file_location("page", page)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    boxes, scores, labels = module.Detector(page.with_suffix(".onnx")).detect(image)
    want = predict_images(checkpoint.detector, checkpoint.recipe, [image])
    # an angle is not compared: that of a square may be any of two
    wanted, boxes = want.xyxy if want.obb is None else want.obb[:, :4], boxes[:, :4]
    free, score, box, both = np.ones(len(boxes), bool), 0.0, 0.0, 0
    for own, own_score, label in zip(wanted, want.scores, want.labels, strict=True):
        apart = np.abs(boxes - own).max(1) + 1e3 * np.abs(scores - own_score)
        apart[~free | (labels != label)] = np.inf
        if not len(apart) or not apart.min() < 1:
            continue
        row = int(apart.argmin())
        free[row], both = False, both + 1
        box = max(box, float(np.abs(boxes[row] - own).max()))
        score = max(score, float(abs(scores[row] - own_score)))
    return Difference(both, score, box, len(want) + len(boxes) - 2 * both)


def main() -> None:
    """Print a row of the table for each recipe or checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="*", default=builtin_names())
    parser.add_argument("--checkpoints", nargs="*", type=Path, help="trained ones, with --image")
    parser.add_argument("--image", type=Path, help="that the trained ones look at")
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    if bool(given.checkpoints) != bool(given.image):
        parser.error("--checkpoints and --image go together")
    print("| recipe | found by both | by one only | score differs by | box by, px |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = given.out or Path(folder)
        if given.checkpoints:
            image = cv2.imread(str(given.image))[..., ::-1]
            for file in given.checkpoints:
                print_row(trained(file), out, image)
            return
        for name in given.recipes:
            try:
                check_exportable(load_recipe(name))
            except UsageError as error:
                print(f"| {name} | {error.what} | | | |", flush=True)
                continue
            print_row(small(name), out)


def print_row(checkpoint: Checkpoint, out: Path, image: ByteArray = RGB) -> None:
    """Export a detector, compare, and print its row of the table."""
    name = checkpoint.recipe.name
    graph = out / f"{name}.onnx"
    export_checkpoint(checkpoint, graph)
    found = compare(checkpoint, page_of(graph), image)
    print(
        f"| {name} | {found.both} | {found.alone} | {found.score:.1e} | {found.box:.1e} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
