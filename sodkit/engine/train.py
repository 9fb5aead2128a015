"""Training: read ``train`` from top to bottom, it is the whole story.

The learning rate, the order of images, the flips and all sampling inside the detector follow from
(seed, epoch, step) alone, so a run that is stopped and resumed goes the way it would have gone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sodkit.config import dump_recipe
from sodkit.data.batches import Batch
from sodkit.data.dataset import TrainingSet, learnable
from sodkit.data.loader import Batches
from sodkit.data.oddities import MIN_SIDE
from sodkit.data.records import Annotations
from sodkit.engine import checkpoint as ckpt
from sodkit.engine.device import autocast
from sodkit.engine.failures import explained
from sodkit.engine.log import Row, RunLog
from sodkit.errors import DataError, SodkitError
from sodkit.files import write_text
from sodkit.models.detector import Detector
from sodkit.models.zoo import build
from sodkit.settings import Recipe, Schedule

Validate = Callable[[Detector], dict[str, float | None]]
"""Evaluates a detector (in evaluation mode) and returns metrics by name, ``AP`` among them."""

LESS_MEMORY = "a smaller schedule.batch needs less memory, and so does schedule.precision=bfloat16"


@dataclass(frozen=True, slots=True)
class StepReport:
    """What the loop tells the outside after every step."""

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: dict[str, float]
    lr: float


def train(
    recipe: Recipe,
    annotations: Annotations,
    images: Path,
    out: Path,
    *,
    device: torch.device,
    workers: int = 2,
    resume: bool = False,
    validate: Validate | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
) -> Detector:
    """Train a detector; checkpoints, recipe and logs go to ``out``.

    Args:
        recipe: the detector and its schedule.
        annotations: patches (or small images) with their objects.
        images: the folder where ``file_name`` starts.
        out: the run's folder.
        device: where to compute.
        workers: processes that read images; the result does not depend on it.
        resume: continue after the last finished epoch in ``out``.
        validate: called each ``schedule.evaluate_every`` epochs.
        on_step: told of every step.
        on_epoch: told of every epoch's row of ``metrics.csv``.

    Returns:
        the trained detector.

    Raises:
        DataError: no objects to learn, boxes of another kind than the recipe's, or an image that
            cannot be read.
        SodkitError: a loss that is not finite, the message names the images; memory that is full;
            a worker process that was killed.
    """
    schedule = recipe.schedule
    check_kind(recipe, annotations)
    _check_learnable(annotations)
    dataset = TrainingSet(
        annotations, images, recipe.input, seed=recipe.seed, keep_empty=schedule.keep_empty
    )
    batches = Batches(
        dataset, recipe.input, batch=schedule.batch, seed=recipe.seed, workers=workers
    )
    last, best, state = (
        out / "checkpoints" / f"{n}.safetensors" for n in ("last", "best", "state")
    )
    detector = _new_detector(recipe, len(annotations.categories), device)
    optimizer = make_optimizer(detector, schedule)
    done = ckpt.load_state(state, detector, optimizer) if resume else ckpt.Progress()
    scaler = restore_scale(_scaler(schedule, device), done)
    write_text(out / "recipe.yaml", dump_recipe(recipe))
    with explained(LESS_MEMORY), RunLog(out, resume_epoch=done.epoch) as log:
        loop = _Loop(recipe, detector, optimizer, scaler, batches, log, on_step)
        for epoch in range(done.epoch, schedule.epochs):
            row = _train_epoch(loop, epoch)
            if validate is not None:
                due = (epoch + 1) % schedule.evaluate_every == 0 or epoch + 1 == schedule.epochs
                metrics = validate(detector.eval()) if due else {}
                row |= {name: metrics.get(name) for name in ("AP", "AP50", "AP75")}
            ap = row.get("AP")
            if ap is not None and (done.best is None or ap > done.best):
                done = replace(done, best=float(ap))
                ckpt.save_checkpoint(best, detector, recipe, annotations.categories)
            ckpt.save_checkpoint(last, detector, recipe, annotations.categories)
            done = replace(note_scale(scaler, done), epoch=epoch + 1)
            log.epoch(row)  # before the state: an epoch that is done would never be logged again
            ckpt.save_state(state, detector, optimizer, done)
            on_epoch(row)
    return detector.eval()


@dataclass(frozen=True, slots=True, eq=False)
class _Loop:
    """What every epoch of a run works with."""

    recipe: Recipe
    detector: Detector
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    batches: Batches
    log: RunLog
    on_step: Callable[[StepReport], None]


def _train_epoch(loop: _Loop, epoch: int) -> Row:
    """Go through the data once; return the means of the losses as a row of ``metrics.csv``."""
    schedule, count = loop.recipe.schedule, len(loop.batches)
    steps = count * schedule.epochs
    device = next(loop.detector.parameters()).device
    loop.detector.train()
    began, sums, rate = time.perf_counter(), dict[str, float](), 0.0
    for number, batch in enumerate(loop.batches.epoch(epoch)):
        step = epoch * count + number
        rate = set_rate(loop.optimizer, schedule, epoch=epoch, step=step, steps=steps)
        losses = _train_step(loop, batch.to(device), _generator(loop.recipe.seed, step))
        loop.log.step({"epoch": epoch + 1, "step": step + 1, "lr": rate, **losses})
        loop.on_step(StepReport(epoch, schedule.epochs, step, steps, losses, rate))
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value / count
    seconds = time.perf_counter() - began
    return {"epoch": epoch + 1, "step": (epoch + 1) * count, "lr": rate, **sums, "seconds": seconds}


def _new_detector(recipe: Recipe, classes: int, device: torch.device) -> Detector:
    """Build the detector from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    detector = build(recipe.model, classes, recipe.boxes)
    return detector.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def make_optimizer(detector: Detector, schedule: Schedule) -> torch.optim.Optimizer:
    """Return the optimiser of the trainable parameters; the embedding's have their own rate."""
    embedding = {id(parameter) for parameter in detector.embedding_parameters()}
    trained = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) not in embedding], "factor": 1.0},
        {"params": [p for p in trained if id(p) in embedding], "factor": schedule.embedding_lr},
    ]
    groups = [group for group in groups if group["params"]]
    decay = schedule.weight_decay
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=schedule.lr, weight_decay=decay)
    momentum = schedule.momentum
    return torch.optim.SGD(groups, lr=schedule.lr, momentum=momentum, weight_decay=decay)


def set_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule, *, epoch: int, step: int, steps: int
) -> float:
    """Set and return the learning rate of ``step`` of ``steps``: warm-up, then its decay."""
    rate = schedule.lr
    if schedule.decay == "cosine":
        rate *= (1 + math.cos(math.pi * step / steps)) / 2
    else:
        rate *= 0.1 ** sum(epoch >= milestone for milestone in schedule.steps)
    if step < schedule.warmup:
        rate *= 1 - (1 - step / schedule.warmup) * (1 - schedule.warmup_factor)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def _train_step(loop: _Loop, batch: Batch, generator: torch.Generator) -> dict[str, float]:
    """Forward, backward, update; return the losses and their sum as ``loss``."""
    schedule, optimizer, scaler = loop.recipe.schedule, loop.optimizer, loop.scaler
    with autocast(batch.images.device, schedule.precision):
        losses: dict[str, Tensor] = loop.detector(batch, generator)
        total = torch.stack([value.float() for value in losses.values()]).sum()
    values = torch.stack([*(v.detach().float() for v in losses.values()), total.detach()])
    named = dict(zip([*losses, "loss"], values.tolist(), strict=True))
    _check_finite(named, batch)
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(total).backward()  # type: ignore[no-untyped-call]
    if schedule.clip is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(_parameters(optimizer), schedule.clip)
    scaler.step(optimizer)
    scaler.update()
    return named


def _parameters(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def _check_finite(losses: dict[str, float], batch: Batch) -> None:
    """Raise naming the images if a loss is NaN or infinite."""
    bad = [name for name, value in losses.items() if not np.isfinite(value)]
    if bad:
        raise SodkitError(
            f"training diverged: {', '.join(bad)} is not finite on the images with ids "
            f"{', '.join(map(str, batch.image_ids))}",
            hint="lower schedule.lr, lengthen schedule.warmup, or look at these images' boxes",
        )


def check_kind(recipe: Recipe, annotations: Annotations) -> None:
    """Raise DataError unless the annotations have the kind of box that the recipe learns."""
    if annotations.kind == recipe.boxes:
        return
    other = "cfinet-r50-soda-a" if annotations.kind == "oriented" else "cfinet-r50-soda-d"
    raise DataError(
        f"the data have {annotations.kind} boxes, the recipe {recipe.name} learns "
        f"{recipe.boxes} ones",
        hint=f"take a recipe for {annotations.kind} boxes ({other}), or --set boxes="
        f"{annotations.kind}",
    )


def _check_learnable(annotations: Annotations) -> None:
    if not len(annotations.images):
        raise DataError("there are no images to train on")
    if not learnable(annotations).any():
        raise DataError(
            "there are no objects to train on",
            hint=f"all annotations are ignored, or have a side below {MIN_SIDE:g} px",
        )


def _generator(seed: int, step: int) -> torch.Generator:
    """Return the generator of a step's sampling."""
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def _scaler(schedule: Schedule, device: torch.device) -> torch.amp.GradScaler:
    """Return the dynamic loss scale of float16; on other types and devices it does nothing."""
    enabled = schedule.precision == "float16" and device.type == "cuda"
    return torch.amp.GradScaler(device.type, enabled=enabled)


def restore_scale(scaler: torch.amp.GradScaler, done: ckpt.Progress) -> torch.amp.GradScaler:
    """Return the scaler as it was when ``done`` was noted."""
    if scaler.is_enabled():
        state = scaler.state_dict()
        scaler.load_state_dict(state | {"scale": done.scale, "_growth_tracker": done.growth})
    return scaler


def note_scale(scaler: torch.amp.GradScaler, done: ckpt.Progress) -> ckpt.Progress:
    """Return ``done`` with the scaler's state; a scaler that does nothing leaves it alone."""
    if not scaler.is_enabled():
        return done
    state = scaler.state_dict()
    return replace(done, scale=float(state["scale"]), growth=int(state["_growth_tracker"]))
