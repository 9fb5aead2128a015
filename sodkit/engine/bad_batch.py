"""The batch whose loss was not finite: kept with the weights, and run again to look for the cause.

The file holds the weights before the step's update. Buffers are those after its forward pass: a
detector that keeps exemplars may have pushed the step's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch, Target
from sodkit.data.records import Category
from sodkit.engine import checkpoint as ckpt
from sodkit.engine.check_output import check_losses
from sodkit.engine.device import autocast
from sodkit.engine.freezing import freeze, set_training
from sodkit.engine.metadata import BatchInfo, read_info
from sodkit.engine.resizing import prepared
from sodkit.engine.train_step import seeded
from sodkit.errors import ModelError
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe

NAME = "bad-batch.safetensors"

_COLUMNS = ("boxes", "labels", "ignore_boxes", "obb")


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a step that was run again.

    Attributes:
        image_ids: of the batch.
        step: number of the step in its run, from 1 on.
        before: the losses in the run.
        now: the losses when run again.
        weights: names of parameters that were not finite before the step.
        module: the first module whose output was not finite now, None: none.
        gradients: names of parameters whose gradient was not finite now; empty if a loss was not.
    """

    image_ids: tuple[int, ...]
    step: int
    before: dict[str, float]
    now: dict[str, float]
    weights: tuple[str, ...]
    module: str | None
    gradients: tuple[str, ...]


def save_bad_batch(
    path: Path,
    detector: nn.Module,
    batch: Batch,
    recipe: Recipe,
    categories: tuple[Category, ...],
    *,
    step: int,
    place: int,
    losses: Mapping[str, float],
) -> None:
    """Write a batch of bytes, the weights, and what it takes to run the step again.

    Args:
        path: the file.
        detector: what is trained.
        batch: before it is normalised.
        recipe: of the run.
        categories: the classes.
        step: number of the step in the run, from 0 on.
        place: of the batch's first image among those of the step.
        losses: of the batch, by name.
    """
    info = BatchInfo(
        recipe=recipe,
        categories=tuple((c.id, c.name) for c in categories),
        step=step,
        place=place,
        losses={name: str(value) for name, value in losses.items()},
        image_ids=batch.image_ids,
        sizes=batch.sizes,
        scales=batch.scales,
        plain=batch.plain,
    )
    tensors = {f"weights.{name}": value for name, value in detector.state_dict().items()}
    tensors["images"] = batch.images
    for number, target in enumerate(batch.targets):
        columns = {name: getattr(target, name) for name in _COLUMNS}
        tensors |= {f"targets.{number}.{k}": v for k, v in columns.items() if v is not None}
    ckpt.save_tensors(path, tensors, info)


def replay(path: Path, device: torch.device, *, detector: nn.Module | None = None) -> Replay:
    """Run the step of a bad batch again, forward and, if its losses are finite, backward.

    Args:
        path: what ``save_bad_batch`` wrote.
        device: where to compute.
        detector: the module that the weights go into, for a detector from outside.

    Raises:
        ModelError: the file is missing, damaged or something else.
    """
    tensors, metadata = ckpt.load_tensors(path, "train again to the bad batch")
    info = read_info(BatchInfo, metadata, path)
    weights = ckpt.part_of(tensors, "weights.")
    made = ckpt.made_for(info.recipe.model, len(info.categories), weights, path, detector)
    ckpt.fill(made, weights, path)
    batch = _batch(tensors, info, path)
    made = made.to(device)
    schedule = info.recipe.schedule
    freeze(made, schedule.freeze)
    set_training(made, schedule.freeze)
    bad = tuple(name for name, value in made.named_parameters() if not _is_finite(value))
    watch = _Watch(made)
    with autocast(device, schedule.precision):
        draws = seeded(info.recipe.seed, info.step, info.place)
        images = prepared(batch.to(device), info.recipe, info.step)
        losses = check_losses(made, made(images, draws))
        total = torch.stack([value.float() for value in losses.values()]).sum()
    now = {name: value.item() for name, value in losses.items()} | {"loss": total.item()}
    gradients: tuple[str, ...] = ()
    if math.isfinite(now["loss"]):
        total.backward()  # type: ignore[no-untyped-call]
        gradients = tuple(
            name
            for name, parameter in made.named_parameters()
            if parameter.grad is not None and not _is_finite(parameter.grad)
        )
    before = {name: float(value) for name, value in info.losses.items()}
    return Replay(info.image_ids, info.step + 1, before, now, bad, watch.first, gradients)


class _Watch:
    """Notes the first module, inner ones before those around them, with a value that is not finite.

    Attributes:
        first: its name, None: there is none.
    """

    def __init__(self, detector: DetectorModule) -> None:
        self.first: str | None = None
        for name, module in detector.named_modules():
            if name:
                module.register_forward_hook(partial(self._note, name))

    def _note(self, name: str, module: nn.Module, inputs: object, output: object) -> None:
        if self.first is None and not all(map(_is_finite, _tensors(output))):
            self.first = name


def _tensors(output: object) -> list[Tensor]:
    """Return the tensors of a module's output: one, a sequence of them, or something else."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, list | tuple):
        return [tensor for part in output for tensor in _tensors(part)]
    return []


def _is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _batch(tensors: dict[str, Tensor], info: BatchInfo, path: Path) -> Batch:
    """Return the batch that a file holds."""
    targets = []
    for number in range(len(info.sizes)):
        columns = ckpt.part_of(tensors, f"targets.{number}.")
        if not {"boxes", "labels", "ignore_boxes"} <= set(columns) <= set(_COLUMNS):
            raise ModelError(f"the targets of image {number} are not whole", where=path)
        targets.append(Target(**columns))
    images = tensors.get("images")
    if images is None or images.dtype != torch.uint8 or images.ndim != 4:
        raise ModelError("holds no images", where=path)
    if not len(images) == len(info.sizes) == len(info.scales) == len(info.image_ids):
        raise ModelError("its images, sizes and ids are not equally many", where=path)
    return Batch(
        images, info.sizes, info.scales, tuple(targets), info.image_ids, plain=info.plain
    )  # fmt: skip
