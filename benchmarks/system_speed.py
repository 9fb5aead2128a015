"""CPU seconds of a training step and of inference of every system, beside torchvision's.

    python benchmarks/system_speed.py --csv benchmarks/results/system_speed.csv

Every built-in recipe that is a system (``systems.py``), with its own ResNet-50 from random weights,
in float32 on one thread: losses and gradients of a batch of noise with some objects; detections.
RetinaNet, FCOS and Faster R-CNN run in turns with torchvision's in the same process, conv1, layer1
and norms frozen in both. Of every figure the minimum over the repeats counts. A row that the table
has is not measured again. The side is a multiple of 32: torchvision's detectors pad to one, and
would have more pixels otherwise.

Random dense heads find next to nothing above the score threshold, torchvision's as well: their
inference is measured without much NMS.
"""

from __future__ import annotations

import argparse
import csv
import gc
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import model_speed
import systems
import torch
from torch import nn
from torchvision.models.detection import (
    fasterrcnn_resnet50_fpn,
    fcos_resnet50_fpn,
    retinanet_resnet50_fpn,
)

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.geometry import rotated
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Keep

HEAD = ("system", "size", "batch", "training_s", "inference_s", "training_ratio", "inference_ratio")
MODES = ("training", "inference")
PAD = 32
"""px that torchvision's detectors pad to a multiple of; CenterNet takes no other sizes."""


def main() -> None:
    """Measure what the table lacks; write it after every system."""
    options = _options()
    torch.set_num_threads(1)
    rows = _read(options.csv)
    for name in options.systems or systems.systems("horizontal") + systems.systems("oriented"):
        key = (name, str(options.size), str(options.batch))
        if key in rows:
            continue
        rows[key] = measure(options, name)
        _write(options.csv, rows)
        print(*key, *rows[key], flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--systems", nargs="+", metavar="RECIPE", help="default: all that exist")
    parser.add_argument("--size", type=int, default=416, help="side of the input, px")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--objects", type=int, default=12, help="an image")
    parser.add_argument("--exemplars", type=int, default=256, help="held for each class")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    if options.size % PAD:
        parser.error(f"--size {options.size} is not a multiple of {PAD}")
    return options


def twin(name: str, size: int) -> nn.Module | None:
    """Return torchvision's detector of the same kind, None if it has none."""
    classes, same = model_speed.CLASSES, {"weights": None, "weights_backbone": None}
    sizes = {"min_size": size, "max_size": size}
    match name:
        case "faster-rcnn-r50-soda-d":
            made = fasterrcnn_resnet50_fpn(
                num_classes=classes + 1,
                box_batch_size_per_image=512,
                box_detections_per_img=200,
                rpn_post_nms_top_n_train=1000,
                **same,
                **sizes,
            )
        case "retinanet-r50-soda-d":
            made = retinanet_resnet50_fpn(num_classes=classes, **same, **sizes)
        case "fcos-r50-soda-d":
            made = fcos_resnet50_fpn(num_classes=classes, **same, **sizes)
        case _:
            return None
    return model_speed.as_pretrained(made)


def measure(options: argparse.Namespace, name: str) -> list[str]:
    """Return the figures of a system as cells."""
    torch.manual_seed(0)
    gc.collect()
    options.recipe = name
    ours, theirs = model_speed.our_network(options), twin(name, options.size)
    upright = model_speed.random_batch(options)
    batch = turned(upright) if load_recipe(name).boxes == "oriented" else upright
    more = {"training": random_order(torch.Generator().manual_seed(0)), "inference": Keep()}
    runs: dict[tuple[str, str], Callable[[], object]] = {}
    for mode in MODES:
        runs[mode, "ours"] = model_speed.one_pass(ours, mode, (batch, more[mode]), False)
        if theirs is not None:
            given = model_speed.their_input(upright, mode, int("faster" in name))
            runs[mode, "theirs"] = model_speed.one_pass(theirs, mode, given, False)
    least = dict.fromkeys(runs, math.inf)
    for repeat in range(options.repeat + 1):  # the first one makes kernels and touches memory
        for key, run in runs.items():
            start = time.process_time()
            run()
            if repeat > 0:
                least[key] = min(least[key], time.process_time() - start)
    seconds = [f"{least[mode, 'ours']:.3f}" for mode in MODES]
    if theirs is None:
        return [*seconds, "", ""]
    return seconds + [f"{least[mode, 'ours'] / least[mode, 'theirs']:.3f}" for mode in MODES]


def turned(batch: Batch) -> Batch:
    """Return a batch whose objects are oriented: at some angles, as large as what enclosed them."""
    targets = []
    for target in batch.targets:
        low, high = target.boxes[:, :2], target.boxes[:, 2:]
        size = (high - low).sort(1, descending=True).values
        angle = torch.linspace(-1.5, 1.5, len(low))[:, None]
        obb = torch.cat([(low + high) / 2, size, angle], 1)
        enclosing = rotated.obb_to_xyxy(obb.double().numpy())
        boxes = torch.from_numpy(enclosing).float()
        targets.append(Target(boxes, target.labels, torch.zeros(0, 5), obb))
    return replace(batch, targets=tuple(targets))


def _read(path: Path) -> dict[tuple[str, ...], list[str]]:
    """Return the rows of a table by system, size and batch."""
    if not path.is_file():
        return {}
    text = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    return {tuple(line[:3]): line[3:] for line in list(csv.reader(text))[1:]}


def _write(path: Path, rows: dict[tuple[str, ...], list[str]]) -> None:
    """Write all rows, sorted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows([*key, *rows[key]] for key in sorted(rows))


if __name__ == "__main__":
    main()
