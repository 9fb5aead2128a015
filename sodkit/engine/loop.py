"""The epochs and steps of a run.

Everything random in a step is drawn from (seed, step), and in the loading of samples from (seed,
epoch, index). So a run goes on from between any two steps without repeating what led there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from sodkit.data.batches import Batch
from sodkit.data.records import Category
from sodkit.data.samples.loader import Batches, WorkerGoneError
from sodkit.engine import checkpoint as ckpt
from sodkit.engine.average import Average, averaged
from sodkit.engine.bad_batch import NAME as BAD_BATCH
from sodkit.engine.bad_batch import save_bad_batch
from sodkit.engine.freezing import set_training
from sodkit.engine.log import Row, RunLog
from sodkit.engine.metadata import Progress
from sodkit.engine.optimizer import set_rate
from sodkit.engine.reports import Hooks, StepReport, Validate
from sodkit.engine.resizing import prepared
from sodkit.engine.run_folder import EPOCH
from sodkit.engine.saving import StateSaver
from sodkit.engine.stopping import Stopping
from sodkit.engine.train_step import DivergedError, Share, Trained, train_step
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Where a run's checkpoints are, and the batch whose loss was not finite."""

    last: Path
    best: Path
    state: Path
    bad_batch: Path

    @classmethod
    def of(cls, run: Path) -> RunFiles:
        """Return those of the run in this folder."""
        folder = run / "checkpoints"
        last, best, state = (folder / f"{n}.safetensors" for n in ("last", "best", "state"))
        return cls(last, best, state, run / BAD_BATCH)

    def of_epoch(self, epoch: int) -> Path:
        """Return where the checkpoint after so many epochs is, if it is kept."""
        return self.last.with_name(EPOCH.format(epoch))


@dataclass(frozen=True, slots=True, eq=False)
class Loop:
    """What every epoch of a run works with."""

    recipe: Recipe
    categories: tuple[Category, ...]
    trained: Trained
    batches: Batches
    log: RunLog | None
    files: RunFiles
    saver: StateSaver
    stopping: Stopping
    average: Average | None
    validate: Validate | None
    hooks: Hooks

    @property
    def detector(self) -> DetectorModule:
        """What is trained."""
        return self.trained.detector

    @property
    def first(self) -> bool:
        """This is the process that writes."""
        return self.trained.world.first


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
                _save_checkpoint(loop, loop.files.last)
                if _is_kept(loop, done.epoch):
                    _save_checkpoint(loop, loop.files.of_epoch(done.epoch))
            loop.saver.save(done)
            _agree(loop)
        done = _finish_epoch(loop, done)
    if loop.average is not None:
        loop.average.exchange()


def _is_stale(loop: Loop, done: Progress) -> bool:
    """Return whether training ends early, and say so."""
    schedule = loop.recipe.schedule
    if schedule.patience is None or done.stale < schedule.patience:
        return False
    best = "none was measured" if done.best is None else f"the best is {done.best:.4g}"
    loop.hooks.say(
        f"training ends after epoch {done.epoch} of {schedule.epochs}: no better "
        f"{schedule.metric} in {done.stale} evaluations ({best}; schedule.patience)"
    )
    return True


def _is_validated(loop: Loop, epoch: int) -> bool:
    """Return whether the detector is evaluated after ``epoch`` epochs."""
    schedule = loop.recipe.schedule
    due = epoch % schedule.evaluate_every == 0 or epoch == schedule.epochs
    return due and loop.validate is not None


def _is_kept(loop: Loop, epoch: int) -> bool:
    """Return whether the checkpoint after ``epoch`` epochs stays."""
    schedule = loop.recipe.schedule
    if schedule.keep_every is None:
        return False
    return epoch % schedule.keep_every == 0 or epoch == schedule.epochs


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
                if loop.first:
                    loop.hooks.best()
                _save_checkpoint(loop, loop.files.best)
    done = done.model_copy(update={"best": best, "stale": stale, "unvalidated": None})
    if loop.log is not None:
        loop.log.epoch(row)  # before the state: an epoch that is done would never be logged again
    loop.saver.save(done)
    loop.hooks.epoch(row)
    return done


def _agree(loop: Loop) -> None:
    """Let a signal that came to one process end all of them after the same step."""
    world = loop.trained.world
    if world.size > 1:
        asked = int(world.most(torch.tensor(loop.stopping.asked or 0)))
        loop.stopping.asked = asked or None


def _save_checkpoint(loop: Loop, path: Path) -> None:
    if loop.first:
        ckpt.save_checkpoint(path, loop.detector, loop.recipe, loop.categories)


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
    asked = time.perf_counter()
    try:
        for batch in loop.batches.epoch(done.epoch, start=done.step):
            losses, rate = _logged_step(loop, batch, done, asked)
            asked = time.perf_counter()
            sums = {k: done.sums.get(k, 0.0) + value / count for k, value in losses.items()}
            passed = {"step": done.step + 1, "sums": sums, "seconds": time.perf_counter() - began}
            done = done.model_copy(update=passed)
            _agree(loop)
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
    loop: Loop, batch: Batch, done: Progress, asked: float
) -> tuple[dict[str, float], float]:
    """Make the next step; log and report it; return its losses and learning rate.

    Args:
        loop: the run.
        batch: of bytes, on the CPU.
        done: how far the run is.
        asked: when the batch was asked for.
    """
    wait = time.perf_counter() - asked
    if loop.first:
        loop.hooks.batch(batch)
    began = time.perf_counter()
    schedule, count = loop.recipe.schedule, len(loop.batches)
    step, steps = done.epoch * count + done.step, count * schedule.epochs
    rate = set_rate(loop.trained.optimizer, schedule, epoch=done.epoch, step=step, steps=steps)
    images = loop.batches.images(done.step)
    losses = _trained(loop, batch, step, images)
    if loop.average is not None:
        loop.average.update(step)
    if loop.log is not None:
        loop.log.step({"epoch": done.epoch + 1, "step": step + 1, "lr": rate, **losses})
    positives = loop.trained.positives
    loop.hooks.step(
        StepReport(
            done.epoch, schedule.epochs, step, steps, losses, rate, images=images,
            seconds=wait + time.perf_counter() - began, wait=wait,
            positives=torch.stack(positives).sum(0) if positives else None,
        )
    )  # fmt: skip
    return losses, rate


def _trained(loop: Loop, batch: Batch, step: int, images: int) -> dict[str, float]:
    """Train on a batch of bytes; keep it if a loss is not finite."""
    device = next(loop.detector.parameters()).device
    share = Share(prepared(batch.to(device), loop.recipe, step), step, images)
    try:
        return train_step(loop.trained, share)
    except DivergedError as error:
        if error.mine is not None:
            place = share.rows(loop.trained.world).start
            save_bad_batch(
                loop.files.bad_batch, loop.detector, batch, loop.recipe, loop.categories,
                step=step, place=place, losses=error.mine,
            )  # fmt: skip
        run = loop.files.bad_batch.parent
        error.hint = f"{error.hint}; where it began: sodkit train --replay {run}"
        raise
