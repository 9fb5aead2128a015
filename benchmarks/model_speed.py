"""Wall time of CFINet against torchvision's Faster R-CNN, in one process, runs interleaved.

    python benchmarks/model_speed.py --size 800 --repeat 5

Both have ResNet-50 with conv1 and layer1 frozen, keep 300 proposals and see the same images and
objects; CFINet is the recipe given, its exemplars filled as after some training (``--exemplars``).
Every figure is the minimum over the repeats: other processes only ever add time. On a machine
that is busy all the time, ``--cpu --threads 1`` counts CPU seconds instead. Ratios are to
torchvision in float32, as everybody runs it. ``--memory`` gives the peak memory of a training step
instead: of a process of its own for each network, above what it held before the network was made.
Prints a table, with ``--json`` one object, and with ``--csv FILE`` appends rows to a file.

    python benchmarks/model_speed.py --device cuda --size 1200 --batch 4

On whichever device is named: training steps that the loader feeds, with the optimiser. Prints the
time of a step, images a second, the peak memory of a GPU and the share of the time that is waited
for batches, as one table to paste into an issue.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from device_table import Losses, print_table
from torch import Tensor, nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.engine.build import without_weights
from sodkit.models import zoo
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Keep

CLASSES = 9


def main() -> None:
    """Measure and print."""
    options = _options()
    if options.device:
        print_table(options, CLASSES, _networks(options))
        return
    rows = _memory(options) if options.memory else _times(options)
    if options.csv:
        _append(options, rows)
    if options.json:
        print(json.dumps({"schema_version": 1, "size": options.size, "runs": rows}))
        return
    print(f"{options.size} px, batch {options.batch}, {options.threads} threads")
    for row in rows:
        unit = "MB" if options.memory else "s"
        print(f"{row['run']:34s} {row['value']:8.3f} {unit} {row['ratio']:6.2f}")


def _times(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the seconds of every run."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    clock = time.process_time if options.cpu else time.perf_counter
    runs = _runs(options)
    for run in runs.values():
        run()  # memory is touched, kernels are made
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(options.repeat):
        for name, run in runs.items():
            start = clock()
            run()
            seconds[name] = min(seconds[name], clock() - start)
    return [
        {"run": name, "value": value, "ratio": value / seconds[_baseline(name)]}
        for name, value in seconds.items()
    ]


def _memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the peak MB of a training step of each network, in a fresh process each."""
    names = ["training torchvision float32", "training sodkit float32", "training sodkit bfloat16"]
    peaks = {}
    for name in names:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peaks[name] = pool.apply(_peak, (options, name))
    return [{"run": n, "value": p, "ratio": p / peaks[_baseline(n)]} for n, p in peaks.items()]


def _peak(options: argparse.Namespace, name: str) -> float:
    """Return by how many MB two training steps raise the process's peak of resident memory."""
    torch.set_num_threads(options.threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batch = random_batch(options)
    if "torchvision" in name:
        run = one_pass(
            their_faster_rcnn(options.size), "training", their_input(batch, "training"), False
        )
    else:
        run = one_pass(our_network(options), "training", (batch,), name.endswith("bfloat16"))
    run()
    run()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def _append(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """Append the rows to a CSV, with the settings that matter."""
    new = not options.csv.exists()
    with options.csv.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(["size", "batch", "threads", "repeat", "run", "value", "unit", "ratio"])
        unit = "MB" if options.memory else "s"
        for row in rows:
            numbers = [f"{row['value']:.3f}", unit, f"{row['ratio']:.3f}"]
            writer.writerow(
                [options.size, options.batch, options.threads, options.repeat, row["run"], *numbers]
            )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="cfinet-r50-soda-d")
    parser.add_argument("--size", type=int, default=800, help="side of the input, px")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--objects", type=int, default=12, help="an image")
    parser.add_argument("--exemplars", type=int, default=256, help="held for each class")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="runs whose name contains this (and baselines)")
    parser.add_argument("--cpu", action="store_true", help="CPU seconds, not wall time")
    parser.add_argument("--memory", action="store_true", help="peak memory, not time")
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--device", default="", help="measure fed training steps here: cuda, cpu")
    parser.add_argument("--steps", type=int, default=30, help="with --device: that are measured")
    parser.add_argument("--warm", type=int, default=10, help="with --device: steps before those")
    parser.add_argument("--workers", type=int, default=4, help="with --device: read patches")
    return parser.parse_args()


def _baseline(name: str) -> str:
    return f"{name.split()[0]} torchvision float32"


def _runs(options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return what is timed: mode, network and type -> one pass."""
    ours, theirs = our_network(options), their_faster_rcnn(options.size)
    batch = random_batch(options)
    runs: dict[str, Callable[[], object]] = {}
    for mode in ("inference", "training"):
        runs[f"{mode} torchvision float32"] = one_pass(
            theirs, mode, their_input(batch, mode), False
        )
        more = Keep() if mode == "inference" else random_order(None)
        runs[f"{mode} sodkit float32"] = one_pass(ours, mode, (batch, more), False)
        runs[f"{mode} sodkit bfloat16"] = one_pass(ours, mode, (batch, more), True)
    return {k: v for k, v in runs.items() if options.only in k or "torchvision" in k}


def one_pass(
    model: nn.Module, mode: str, inputs: tuple[object, ...], bfloat16: bool
) -> Callable[[], object]:
    """Return one inference, or one training step without the optimiser."""

    def run() -> object:
        half = torch.autocast("cpu", torch.bfloat16) if bfloat16 else nullcontext()
        model.train(mode == "training")
        if mode == "inference":
            with torch.no_grad(), half:
                return (
                    model.detect(*inputs) if isinstance(model, DetectorModule) else model(*inputs)
                )
        model.zero_grad(set_to_none=True)
        with half:
            losses: dict[str, Tensor] = model(*inputs)
        torch.stack(list(losses.values())).sum().backward()
        return losses

    return run


def _networks(options: argparse.Namespace) -> dict[str, tuple[nn.Module, Losses]]:
    """Return both networks with their losses of a batch."""
    torch.manual_seed(0)
    ours, theirs = our_network(options), their_faster_rcnn(options.size)
    shuffle = random_order(torch.Generator().manual_seed(0))
    return {
        "torchvision Faster R-CNN": (theirs, lambda b: theirs(*their_input(b, "training"))),
        f"sodkit {options.recipe}": (ours, lambda b: ours(b, shuffle)),
    }


def our_network(options: argparse.Namespace) -> DetectorModule:
    """Return the recipe's network, its exemplars filled."""
    recipe = load_recipe(options.recipe)
    model = zoo.build(without_weights(recipe.model), CLASSES)
    calm(model.backbone)
    if getattr(model, "imitation", None) is not None:
        exemplars = model.imitation.exemplars
        exemplars.features.normal_()
        exemplars.pushed.fill_(options.exemplars)
    return model


def their_faster_rcnn(size: int) -> nn.Module:
    """Return torchvision's Faster R-CNN for images of a size."""
    model: nn.Module = fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES + 1,
        min_size=size,
        max_size=size,
        rpn_post_nms_top_n_train=300,
        rpn_post_nms_top_n_test=300,
        rpn_batch_size_per_image=256,
        box_batch_size_per_image=256,
        box_detections_per_img=100,
    )
    return as_pretrained(model)


def as_pretrained(model: nn.Module) -> nn.Module:
    """Freeze of a torchvision detector what it freezes with pretrained weights only."""
    for name, parameter in model.backbone.body.named_parameters():  # type: ignore[union-attr]
        parameter.requires_grad_(name.startswith(("layer2", "layer3", "layer4")))
    freeze_norms(model)
    calm(model.backbone)  # type: ignore[arg-type]
    return model


def freeze_norms(module: nn.Module) -> None:
    """Put in the norms that torchvision uses with pretrained weights."""
    from torchvision.ops import FrozenBatchNorm2d

    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features))
        else:
            freeze_norms(child)


def calm(backbone: nn.Module) -> None:
    """Keep the activations of random residual blocks from growing: last norms at a quarter."""
    for name, module in backbone.named_modules():
        if name.endswith("bn3"):
            module.weight.data.fill_(0.25)  # type: ignore[union-attr, operator]


def random_batch(options: argparse.Namespace) -> Batch:
    """Return noise with upright objects of 8 to 48 px."""
    generator = torch.Generator().manual_seed(1)
    size, count = options.size, options.batch
    images = torch.randn(count, 3, size, size, generator=generator)
    targets = []
    for _ in range(count):
        corner = torch.rand(options.objects, 2, generator=generator) * (size - 50)
        side = 8 + 40 * torch.rand(options.objects, 2, generator=generator)
        labels = torch.randint(0, CLASSES, (options.objects,), generator=generator)
        targets.append(Target(torch.cat([corner, corner + side], 1), labels, torch.zeros(0, 4)))
    return Batch(images, ((size, size),) * count, ((1.5, 1.5),) * count, tuple(targets))


def their_input(batch: Batch, mode: str, first_label: int = 1) -> tuple[object, ...]:
    """Return a batch as torchvision's detectors take it; in Faster R-CNN label 0 is background."""
    images = list(batch.images)
    if mode == "inference":
        return (images,)
    return images, [{"boxes": t.boxes, "labels": t.labels + first_label} for t in batch.targets]


if __name__ == "__main__":
    sys.exit(main())
