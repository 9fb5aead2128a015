"""The epochs and steps of a run.

Everything random in a step is drawn from (seed, step), and in the loading of samples from (seed,
epoch, index). So a run goes on from between any two steps without repeating what led there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch
from sodkit.data.records import Category
from sodkit.data.samples.loader import Batches, WorkerGoneError
from sodkit.data.samples.normalise import normalised
from sodkit.engine import checkpoint as ckpt
from sodkit.engine.average import Average, averaged
from sodkit.engine.check_output import check_losses
from sodkit.engine.device import autocast
from sodkit.engine.freezing import set_training
from sodkit.engine.log import Row, RunLog
from sodkit.engine.metadata import Progress
from sodkit.engine.optimizer import set_rate
from sodkit.engine.saving import StateSaver
from sodkit.engine.stopping import Stopping
from sodkit.errors import SodkitError
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.sampling import Shuffle, random_order
from sodkit.settings import Recipe

Validate = Callable[[DetectorModule], dict[str, float | None]]
"""Evaluates a detector (in evaluation mode) and returns metrics by name, ``AP`` among them.

All of them go to ``metrics.csv``.
"""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is reported after every step."""

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: dict[str, float]
    lr: float


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where a run's checkpoints are."""

    last: Path
    best: Path
    state: Path

    @classmethod
    def of(cls, run: Path) -> RunFiles:
        """Return those of the run in this folder."""
        return cls(*(run / "checkpoints" / f"{n}.safetensors" for n in ("last", "best", "state")))


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """What every epoch of a run works with."""

    recipe: Recipe
    categories: tuple[Category, ...]
    detector: DetectorModule
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    batches: Batches
    log: RunLog
    files: RunFiles
    saver: StateSaver
    stopping: Stopping
    average: Average | None
    validate: Validate | None
    on_step: Callable[[StepReport], None]
    on_epoch: Callable[[Row], None]
    say: Callable[[str], None]


def run_epochs(loop: Loop, done: Progress) -> None:
    """Train what is left after ``done``; each epoch is saved before it is validated.

    In the end the detector has the average of its weights, if there is one.
    """
    if done.unvalidated is not None:
        done = _finish_epoch(loop, done)
    while done.epoch < loop.recipe.schedule.epochs and not _is_stale(loop, done):
        with loop.stopping.held():
            done = _train_epoch(loop, done)
            with averaged(loop.average):
                ckpt.save_checkpoint(loop.files.last, loop.detector, loop.recipe, loop.categories)
            loop.saver.save(done)
        done = _finish_epoch(loop, done)
    if loop.average is not None:
        loop.average.exchange()


def _is_stale(loop: Loop, done: Progress) -> bool:
    """Return whether training ends early, and say so."""
    schedule = loop.recipe.schedule
    if schedule.patience is None or done.stale < schedule.patience:
        return False
    best = "none was measured" if done.best is None else f"the best is {done.best:.4g}"
    loop.say(
        f"training ends after epoch {done.epoch} of {schedule.epochs}: no better "
        f"{schedule.metric} in {done.stale} evaluations ({best}; schedule.patience)"
    )
    return True


def _is_validated(loop: Loop, epoch: int) -> bool:
    """Return whether the detector is evaluated after ``epoch`` epochs."""
    schedule = loop.recipe.schedule
    due = epoch % schedule.evaluate_every == 0 or epoch == schedule.epochs
    return due and loop.validate is not None


def _finish_epoch(loop: Loop, done: Progress) -> Progress:
    """Validate if that is due, keep the best detector, log the epoch and save that it is done.

    Args:
        loop: the run.
        done: how far it is, with the last epoch's means.
    """
    row: Row = {"epoch": done.epoch, "step": done.epoch * len(loop.batches)}
    row |= done.unvalidated or {}
    best, stale = done.best, done.stale
    if loop.validate is not None and _is_validated(loop, done.epoch):
        with averaged(loop.average):
            row |= loop.validate(loop.detector.eval())
            value = row.get(loop.recipe.schedule.metric)
            stale += 1
            if value is not None and (best is None or value > best):
                best, stale = float(value), 0
                ckpt.save_checkpoint(loop.files.best, loop.detector, loop.recipe, loop.categories)
    done = done.model_copy(update={"best": best, "stale": stale, "unvalidated": None})
    loop.log.epoch(row)  # before the state: an epoch that is done would never be logged again
    loop.saver.save(done)
    loop.on_epoch(row)
    return done


def _train_epoch(loop: Loop, done: Progress) -> Progress:
    """Go through what is left of an epoch.

    Returns:
        ``done`` one epoch later, with the epoch's learning rate, mean losses and seconds.

    Raises:
        KeyboardInterrupt, TerminatedError: a signal came; the state of the last step is saved.
    """
    count = len(loop.batches)
    set_training(loop.detector, loop.recipe.schedule.freeze)
    began, rate = time.perf_counter() - done.seconds, 0.0
    try:
        for batch in loop.batches.epoch(done.epoch, start=done.step):
            losses, rate = _logged_step(loop, batch, done.epoch, done.step)
            sums = {k: done.sums.get(k, 0.0) + value / count for k, value in losses.items()}
            passed = {"step": done.step + 1, "sums": sums, "seconds": time.perf_counter() - began}
            done = done.model_copy(update=passed)
            if loop.stopping.asked is not None:
                break
            if done.step < count:
                loop.saver.step(done)
    except WorkerGoneError:  # a signal to all processes ends the workers, too
        if loop.stopping.asked is None:
            raise
    if done.step < count:
        loop.saver.save(done)
        loop.stopping.end()
    means = {"lr": rate, **done.sums, "seconds": done.seconds}
    ended = {"epoch": done.epoch + 1, "step": 0, "sums": {}, "seconds": 0.0, "unvalidated": means}
    return done.model_copy(update=ended)


def _logged_step(
    loop: Loop, batch: Batch, epoch: int, number: int
) -> tuple[dict[str, float], float]:
    """Make step ``number`` of an epoch; log and report it; return its losses and learning rate."""
    schedule, count = loop.recipe.schedule, len(loop.batches)
    step, steps = epoch * count + number, count * schedule.epochs
    device = next(loop.detector.parameters()).device
    rate = set_rate(loop.optimizer, schedule, epoch=epoch, step=step, steps=steps)
    batch = normalised(batch.to(device), loop.recipe.input)
    losses = _train_step(loop, batch, _seeded(loop.recipe.seed, step))
    if loop.average is not None:
        loop.average.update(step)
    loop.log.step({"epoch": epoch + 1, "step": step + 1, "lr": rate, **losses})
    loop.on_step(StepReport(epoch, schedule.epochs, step, steps, losses, rate))
    return losses, rate


def _train_step(loop: Loop, batch: Batch, shuffle: Shuffle) -> dict[str, float]:
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


def _seeded(seed: int, step: int) -> Shuffle:
    """Return what a step's sampling is drawn by, and seed the generators of the whole process.

    Our detectors draw by nothing else; one from outside may have dropout.
    """
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    number = int(state >> np.uint64(1))
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)
    return random_order(torch.Generator().manual_seed(number))
