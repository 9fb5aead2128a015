"""Training steps on one device, fed by the loader: the table of `model_speed.py --device`."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import feeding
import numpy as np
import torch
import torchvision
from torch import Tensor, nn

import sodkit
from sodkit.data.batches import Batch
from sodkit.data.formats import read_annotations
from sodkit.data.samples.loader import Batches
from sodkit.data.samples.normalise import normalised
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.engine.device import autocast, describe, pick_device
from sodkit.settings import Input

PATCHES = 32
Losses = Callable[[Batch], dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Row:
    """What one network took: seconds a step, the share of waiting for batches, peak MB."""

    run: str
    seconds: float
    wait: float
    memory: float | None


def print_table(
    options: argparse.Namespace, classes: int, networks: dict[str, tuple[nn.Module, Losses]]
) -> None:
    """Train each network for some steps in each precision and print one table.

    Args:
        options: of the command line.
        classes: of the painted objects.
        networks: name -> the network on the host, and its losses of a batch.
    """
    device = pick_device(options.device)
    torch.set_num_threads(options.threads)
    settings = Input(scale=options.size / feeding.SIDE)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = _dataset(Path(folder), options.objects, classes, settings)
        for name, (network, losses) in networks.items():
            for precision in ("float32", "bfloat16"):
                run = f"{name}, {precision}"
                row = _train(run, network.to(device), losses, data, settings, options, precision)
                rows.append(row)
            network.to("cpu")
    _print(device, options, rows)


def _train(
    run: str,
    network: nn.Module,
    losses: Losses,
    data: TrainingSet,
    settings: Input,
    options: argparse.Namespace,
    precision: str,
) -> Row:
    """Make steps as training does; the first ones, in which kernels are chosen, do not count."""
    device = next(network.parameters()).device
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-4, momentum=0.9)
    network.train()
    batches = _endless(data, settings, options)
    began = waited = 0.0
    for step in range(options.warm + options.steps):
        if step == options.warm:
            _finish(device)
            began, waited = time.perf_counter(), 0.0
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        batch = normalised(batch.to(device), settings)
        with autocast(device, precision):
            values = torch.stack([value.float() for value in losses(batch).values()])
        values.tolist()  # for the log
        optimizer.zero_grad(set_to_none=True)
        values.sum().backward()
        optimizer.step()
    _finish(device)
    seconds = time.perf_counter() - began
    return Row(run, seconds / options.steps, waited / seconds, _memory(device))


def _endless(data: TrainingSet, settings: Input, options: argparse.Namespace) -> Iterator[Batch]:
    batches = Batches(data, batch=options.batch, seed=0, workers=options.workers)
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory(device: torch.device) -> float | None:
    """Return the peak MB that tensors took on a GPU; of the host it is not of one network."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None


def _dataset(folder: Path, objects: int, classes: int, settings: Input) -> TrainingSet:
    """Paint patches, and name places in them as objects."""
    images, rng = folder / "images", np.random.default_rng(1)
    images.mkdir()
    feeding.painted(images, PATCHES)
    annotations: list[dict[str, Any]] = []
    for image in range(PATCHES):
        for _ in range(objects):
            x, y = rng.integers(0, feeding.SIDE - 40, 2).tolist()
            width, height = rng.integers(6, 34, 2).tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image + 1,
                    "category_id": 1 + int(rng.integers(classes)),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    side = {"width": feeding.SIDE, "height": feeding.SIDE}
    file = folder / "annotations.json"
    content = {
        "images": [{"id": k + 1, "file_name": f"{k}.jpg", **side} for k in range(PATCHES)],
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": f"class{k + 1}"} for k in range(classes)],
    }
    file.write_text(json.dumps(content), "utf-8")
    return TrainingSet(read_annotations(file), images, settings, seed=0)


def _print(device: torch.device, options: argparse.Namespace, rows: list[Row]) -> None:
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}"
    print(f"{describe(device)}; sodkit {sodkit.__version__}, {versions}")
    print(
        f"{options.size} px, batch {options.batch}, {options.objects} objects an image, "
        f"{options.workers} workers, {options.steps} steps after {options.warm}\n"
    )
    print("| training step | ms | images/s | peak MB | waits for batches |")
    print("|---|---|---|---|---|")
    for row in rows:
        memory = "-" if row.memory is None else f"{row.memory:.0f}"
        print(
            f"| {row.run} | {1000 * row.seconds:.1f} | {options.batch / row.seconds:.2f} "
            f"| {memory} | {100 * row.wait:.1f} % |"
        )
