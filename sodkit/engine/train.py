"""Training: ``train``, from top to bottom.

The learning rate, the order of images, the flips and all sampling inside the detector follow from
(seed, epoch, step) alone, so a run that is stopped and resumed gives the same result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sodkit.config import DEFAULT_RECIPES, dump_recipe
from sodkit.data.batches import Batch
from sodkit.data.checking.missing_files import check_images_exist
from sodkit.data.checking.oddities import MIN_SIDE, crowds
from sodkit.data.records import CROWD, Annotations, Category
from sodkit.data.samples.loader import Batches
from sodkit.data.samples.patch_dataset import TrainingSet, learnable
from sodkit.engine import checkpoint as ckpt
from sodkit.engine.build import new_detector, with_outside
from sodkit.engine.check_output import check_losses
from sodkit.engine.device import autocast
from sodkit.engine.failures import explained
from sodkit.engine.log import Row, RunLog
from sodkit.engine.metadata import Progress
from sodkit.engine.optimizer import (
    make_optimizer,
    make_scaler,
    note_scale,
    restore_scale,
    set_rate,
)
from sodkit.errors import DataError, SodkitError
from sodkit.files import write_text
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.sampling import Shuffle, random_order
from sodkit.settings import Recipe

Validate = Callable[[DetectorModule], dict[str, float | None]]
"""Evaluates a detector (in evaluation mode) and returns metrics by name, ``AP`` among them.

All of them go to ``metrics.csv``.
"""

LESS_MEMORY = "a smaller schedule.batch needs less memory, and so does schedule.precision=bfloat16"


@dataclass(frozen=True, slots=True)
class StartReport:
    """What is reported before the first step.

    Attributes:
        recipe: what is trained.
        device: where.
        out: the run's folder.
        images: how many are trained on.
        objects: how many of their objects are learnt.
        ignored: how many objects and regions are ignored.
        epoch: epochs done already.
        steps: of one epoch.
    """

    recipe: Recipe
    device: torch.device
    out: Path
    images: int
    objects: int
    ignored: int
    epoch: int
    steps: int


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is reported after every step."""

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
    on_start: Callable[[StartReport], None] = lambda report: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    detector: nn.Module | None = None,
) -> DetectorModule:
    """Train a detector; checkpoints, recipe and logs go to ``out``.

    An epoch is saved before its validation, so one that fails costs no epoch: resumed, the run goes
    on with the validation.

    Args:
        recipe: the detector and its schedule.
        annotations: patches (or small images) with their objects.
        images: the folder where ``file_name`` starts.
        out: the run's folder.
        device: where to compute.
        workers: processes that read images; the result does not depend on it.
        resume: continue after the last finished epoch in ``out``.
        validate: called each ``schedule.evaluate_every`` epochs.
        on_start: called once, before the first step.
        on_step: called after every step.
        on_epoch: called after every epoch with its row of ``metrics.csv``.
        detector: one from outside to train, with the two methods of ``Detector``; None: the
            recipe's. Its checkpoints say ``kind: outside``.

    Returns:
        the trained detector.

    Raises:
        DataError: no objects to learn, boxes of another kind than the recipe's, or an image that
            is missing or cannot be read.
        SodkitError: a loss that is not finite, the message names the images; memory that is full;
            a worker process that was killed.
    """
    recipe = recipe if detector is None else with_outside(recipe, detector)
    schedule = recipe.schedule
    dataset = training_set(recipe, annotations, images)
    batches = Batches(
        dataset, recipe.input, batch=schedule.batch, seed=recipe.seed, workers=workers
    )
    files = _Files.of(out)
    trained = new_detector(
        recipe, len(annotations.categories), device, given=detector, pretrained=not resume
    )
    optimizer = make_optimizer(trained, schedule)
    done = ckpt.load_state(files.state, trained, optimizer) if resume else Progress()
    scaler = restore_scale(make_scaler(schedule, device), done)
    write_text(out / "recipe.yaml", dump_recipe(recipe))
    logged = done.epoch - (done.unvalidated is not None)
    with (
        explained(LESS_MEMORY),
        RunLog(out, steps_until=done.epoch, epochs_until=logged) as log,
    ):
        loop = _Loop(
            recipe, annotations.categories, trained, optimizer, scaler, batches, log, files,
            validate, on_step, on_epoch,
        )  # fmt: skip
        objects, ignored = learnable(annotations).sum(), annotations.ignore.sum()
        on_start(StartReport(
            recipe, device, out, len(dataset), int(objects), int(ignored), done.epoch, len(batches)
        ))  # fmt: skip
        _run_epochs(loop, done)
    return trained.eval()


def training_set(recipe: Recipe, annotations: Annotations, images: Path) -> TrainingSet:
    """Return what is trained on; its objects, kind of box and image files are checked.

    Raises:
        DataError: no objects to learn, boxes of another kind than the recipe's, or a missing image.
    """
    check_kind(recipe, annotations)
    _check_learnable(annotations)
    keep_empty = recipe.schedule.keep_empty
    found = TrainingSet(annotations, images, recipe.input, seed=recipe.seed, keep_empty=keep_empty)
    check_images_exist(found.images, images, "--images")
    return found


@dataclass(frozen=True, slots=True)
class _Files:
    """Where a run's checkpoints are."""

    last: Path
    best: Path
    state: Path

    @classmethod
    def of(cls, run: Path) -> _Files:
        return cls(*(run / "checkpoints" / f"{n}.safetensors" for n in ("last", "best", "state")))


@dataclass(frozen=True, slots=True, eq=False)
class _Loop:
    """What every epoch of a run works with."""

    recipe: Recipe
    categories: tuple[Category, ...]
    detector: DetectorModule
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    batches: Batches
    log: RunLog
    files: _Files
    validate: Validate | None
    on_step: Callable[[StepReport], None]
    on_epoch: Callable[[Row], None]


def _run_epochs(loop: _Loop, done: Progress) -> None:
    """Train what epochs are left, each saved before it is validated."""
    if done.unvalidated is not None:
        done = _finish_epoch(loop, done, done.unvalidated)
    for epoch in range(done.epoch, loop.recipe.schedule.epochs):
        means = _train_epoch(loop, epoch)
        done = note_scale(loop.scaler, done).model_copy(update={"epoch": epoch + 1})
        ckpt.save_checkpoint(loop.files.last, loop.detector, loop.recipe, loop.categories)
        if _is_validated(loop, done.epoch):
            saved = done.model_copy(update={"unvalidated": means})
            ckpt.save_state(loop.files.state, loop.detector, loop.optimizer, saved)
        done = _finish_epoch(loop, done, means)


def _is_validated(loop: _Loop, epoch: int) -> bool:
    """Return whether the detector is evaluated after ``epoch`` epochs."""
    schedule = loop.recipe.schedule
    due = epoch % schedule.evaluate_every == 0 or epoch == schedule.epochs
    return due and loop.validate is not None


def _finish_epoch(loop: _Loop, done: Progress, means: dict[str, float]) -> Progress:
    """Validate if that is due, keep the best detector, log the epoch and save that it is done.

    Args:
        loop: the run.
        done: how far it is, this epoch included.
        means: the epoch's learning rate, mean losses and seconds.
    """
    row: Row = {"epoch": done.epoch, "step": done.epoch * len(loop.batches), **means}
    best = done.best
    if loop.validate is not None and _is_validated(loop, done.epoch):
        row |= loop.validate(loop.detector.eval())
    ap = row.get("AP")
    if ap is not None and (best is None or ap > best):
        best = float(ap)
        ckpt.save_checkpoint(loop.files.best, loop.detector, loop.recipe, loop.categories)
    done = done.model_copy(update={"best": best, "unvalidated": None})
    loop.log.epoch(row)  # before the state: an epoch that is done would never be logged again
    ckpt.save_state(loop.files.state, loop.detector, loop.optimizer, done)
    loop.on_epoch(row)
    return done


def _train_epoch(loop: _Loop, epoch: int) -> dict[str, float]:
    """Go through the data once; return learning rate, means of the losses and seconds."""
    schedule, count = loop.recipe.schedule, len(loop.batches)
    steps = count * schedule.epochs
    device = next(loop.detector.parameters()).device
    loop.detector.train()
    began, sums, rate = time.perf_counter(), dict[str, float](), 0.0
    for number, batch in enumerate(loop.batches.epoch(epoch)):
        step = epoch * count + number
        rate = set_rate(loop.optimizer, schedule, epoch=epoch, step=step, steps=steps)
        losses = _train_step(loop, batch.to(device), _shuffle(loop.recipe.seed, step))
        loop.log.step({"epoch": epoch + 1, "step": step + 1, "lr": rate, **losses})
        loop.on_step(StepReport(epoch, schedule.epochs, step, steps, losses, rate))
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value / count
    seconds = time.perf_counter() - began
    return {"lr": rate, **sums, "seconds": seconds}


def _train_step(loop: _Loop, batch: Batch, shuffle: Shuffle) -> dict[str, float]:
    """Forward, backward, update; return the losses and their sum as ``loss``."""
    schedule, optimizer, scaler = loop.recipe.schedule, loop.optimizer, loop.scaler
    with autocast(batch.images.device, schedule.precision):
        losses = check_losses(loop.detector, loop.detector(batch, shuffle))
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
    raise DataError(
        f"the data have {annotations.kind} boxes, the recipe {recipe.name} learns "
        f"{recipe.boxes} ones",
        hint=f"take a recipe for {annotations.kind} boxes: {DEFAULT_RECIPES[annotations.kind]}",
    )


def _check_learnable(annotations: Annotations) -> None:
    if not len(annotations.images):
        raise DataError("there are no images to train on")
    if not learnable(annotations).any():
        raise DataError(
            "there are no objects to train on",
            hint=crowds(annotations.flagged(CROWD)[~annotations.is_region])
            or f"all annotations are ignored, or have a side below {MIN_SIDE:g} px",
        )


def _shuffle(seed: int, step: int) -> Shuffle:
    """Return what a step's sampling is drawn by."""
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    return random_order(torch.Generator().manual_seed(int(state >> np.uint64(1))))
