"""Training: ``train``, from top to bottom; its epochs and steps are in ``loop.py``.

The learning rate, the order of images, the flips and all sampling inside the detector follow from
(seed, epoch, step) alone, so a run that is stopped and resumed gives the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from sodkit.config import DEFAULT_RECIPES, dump_recipe
from sodkit.data.batches import Batch
from sodkit.data.checking.missing_files import check_images_exist
from sodkit.data.checking.oddities import MIN_SIDE, crowds
from sodkit.data.records import CROWD, Annotations, Category
from sodkit.data.samples.loader import Batches
from sodkit.data.samples.patch_dataset import TrainingSet, learnable
from sodkit.engine import checkpoint as ckpt
from sodkit.engine.average import Average
from sodkit.engine.build import new_detector, with_outside
from sodkit.engine.device import reproducible
from sodkit.engine.failures import explained
from sodkit.engine.freezing import freeze
from sodkit.engine.initial import take_weights
from sodkit.engine.log import Row, RunLog
from sodkit.engine.loop import Loop, RunFiles, run_epochs
from sodkit.engine.metadata import Progress, RunInfo
from sodkit.engine.optimizer import make_optimizer, make_scaler, restore_scale
from sodkit.engine.reports import Hooks, StartReport, StepReport, Validate
from sodkit.engine.same_run import check_same_run, run_info
from sodkit.engine.saving import StateSaver
from sodkit.engine.sinks import Sink
from sodkit.engine.stopping import Stopping
from sodkit.engine.train_step import Trained
from sodkit.engine.world import ALONE, World
from sodkit.errors import DataError, ModelError, UsageError
from sodkit.files import StrPath, write_text
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe

LESS_MEMORY = (
    "schedule.accumulate=2 (or more parts) needs less memory, and so do a smaller schedule.batch "
    "and schedule.precision=bfloat16"
)


@explained(LESS_MEMORY)
def train(
    recipe: Recipe,
    annotations: Annotations,
    images: StrPath,
    out: StrPath,
    *,
    device: torch.device,
    workers: int = 2,
    resume: bool = False,
    validate: Validate | None = None,
    validation: Annotations | None = None,
    on_start: Callable[[StartReport], None] = lambda report: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    on_batch: Callable[[Batch], None] = lambda batch: None,
    on_best: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda message: None,
    detector: nn.Module | None = None,
    init: StrPath | None = None,
    sinks: Sequence[Sink] = (),
    world: World = ALONE,
) -> DetectorModule:
    """Train a detector; checkpoints, recipe and logs go to ``out``.

    The state is saved every ``schedule.save_steps`` steps and ``schedule.save_minutes`` minutes,
    after an epoch, and at Ctrl-C and SIGTERM (in the main thread).

    Args:
        recipe: the detector and its schedule.
        annotations: patches (or small images) with their objects.
        images: the folder where ``file_name`` starts.
        out: the run's folder.
        device: where to compute.
        workers: processes that read images; the result does not depend on it.
        resume: continue ``out`` from its state, with the recipe and the data that it was saved of.
        validate: called each ``schedule.evaluate_every`` epochs.
        validation: what it evaluates on, if resuming is to compare that.
        on_start: called once, before the first step.
        on_step: called after every step.
        on_epoch: called after every epoch with its row of ``metrics.csv`` and ``seconds``.
        on_batch: called before every step with its batch of bytes.
        on_best: called before the detector is kept as the best so far.
        say: called with a sentence when a signal is held back, and when training ends early.
        detector: one from outside to train, with the two methods of ``Detector``; None: the
            recipe's. Its checkpoints say ``kind: outside``.
        init: a checkpoint to begin with, its classes may be others; ``say`` gets what was taken.
        sinks: get the numbers of the log.
        world: the processes that train together; each one calls this, and the first one writes.

    Returns:
        the trained detector.

    Raises:
        DataError: no objects to learn, boxes of another kind than the recipe's, an image that is
            missing or cannot be read, or other data than those of the run that is resumed.
        UsageError: the run that is resumed has another recipe, or settings do not go together.
        SodkitError: a loss that is not finite, full memory, a worker process that was killed.
        KeyboardInterrupt, TerminatedError: Ctrl-C, SIGTERM.
    """
    images = Path(images)
    out = Path(out)
    init = None if init is None else Path(init)
    recipe = recipe if detector is None else with_outside(recipe, detector)
    check_batch(recipe, world)
    check_patience(recipe, validated=validate is not None)
    dataset, known = training_set(recipe, annotations, images), annotations.categories
    run = run_info(recipe, annotations, validation)
    if resume:
        check_same_run(ckpt.load_run(RunFiles.of(out).state), run, out)
    pretrained = not resume and init is None
    trained = new_detector(recipe, len(known), device, given=detector, pretrained=pretrained)
    _initialise(trained, recipe, known, None if resume else init, say)
    hooks = Hooks(on_start, on_batch, on_step, on_epoch, on_best, say, sinks)
    with _loop(
        trained, dataset, run, out, validate, hooks, world, known, workers=workers, resume=resume
    ) as (loop, done):
        on_start(_start_report(loop, annotations, out, len(dataset), done))
        run_epochs(loop, done)
    return trained.eval()


@contextmanager
def _loop(
    detector: DetectorModule,
    dataset: TrainingSet,
    run: RunInfo,
    out: Path,
    validate: Validate | None,
    hooks: Hooks,
    world: World,
    categories: tuple[Category, ...],
    *,
    workers: int,
    resume: bool,
) -> Iterator[tuple[Loop, Progress]]:
    """Yield what the epochs of a run work with, and how far it is; signals are handled."""
    recipe, files = run.recipe, RunFiles.of(out)
    schedule, device = recipe.schedule, next(detector.parameters()).device
    batches = _batches(dataset, recipe, workers, world)
    state = files.state if resume else None
    optimizer, average, done = _begin(detector, recipe, state, len(batches))
    scaler = restore_scale(make_scaler(schedule, device), done)
    saver = StateSaver(files.state, detector, optimizer, scaler, schedule, run, average, world)
    step = Trained.of(detector, optimizer, scaler, schedule, recipe.seed, world)
    log_here = _log(recipe, out, done, len(batches), world, hooks.sinks)
    stopping = Stopping(hooks.say, world)
    with stopping.handling(), reproducible(schedule.deterministic), log_here as log:
        loop = Loop(
            recipe, categories, step, batches, log, files, saver, stopping, average, validate,
            hooks,
        )  # fmt: skip
        yield loop, done


def _initialise(
    detector: DetectorModule,
    recipe: Recipe,
    categories: tuple[Category, ...],
    init: Path | None,
    say: Callable[[str], None],
) -> None:
    """Take the weights of a checkpoint, if there is one to begin with, and say which."""
    if init is not None:
        for sentence in take_weights(init, detector, recipe, categories).sentences(init):
            say(sentence)


def _batches(dataset: TrainingSet, recipe: Recipe, workers: int, world: World) -> Batches:
    """Return this process's share of the batches."""
    schedule = recipe.schedule
    return Batches(
        dataset, batch=schedule.batch, seed=recipe.seed, workers=workers,
        repeats=dataset.repeats(schedule), rank=world.rank, parts=world.size,
    )  # fmt: skip


def _begin(
    detector: DetectorModule, recipe: Recipe, state: Path | None, steps: int
) -> tuple[torch.optim.Optimizer, Average | None, Progress]:
    """Return optimiser, average and place of a run that begins, or goes on from its ``state``.

    Raises:
        ModelError: the state is of a step that an epoch of so many ``steps`` does not have.
    """
    schedule = recipe.schedule
    freeze(detector, schedule.freeze)
    optimizer = make_optimizer(detector, schedule)
    average = None
    if schedule.ema is not None:
        average = Average(
            detector, schedule.ema, warmup=schedule.ema_warmup, statistics=schedule.ema_statistics
        )
    if state is None:
        return optimizer, average, Progress()
    means = None if average is None else average.tensors
    done = ckpt.load_state(state, detector, optimizer, means)
    if done.step >= steps:
        raise ModelError(f"is of step {done.step} of an epoch of {steps}", where=state)
    return optimizer, average, done


def training_set(recipe: Recipe, annotations: Annotations, images: Path) -> TrainingSet:
    """Return what is trained on; its objects, kind of box and image files are checked.

    Raises:
        DataError: no objects to learn, boxes of another kind than the recipe's, or a missing image.
    """
    check_kind(recipe, annotations)
    _check_learnable(annotations)
    schedule = recipe.schedule
    found = TrainingSet(
        annotations, images, recipe.input, seed=recipe.seed, keep_empty=schedule.keep_empty,
        epochs=schedule.epochs,
    )  # fmt: skip
    check_images_exist(found.images, images, "--images")
    return found


def check_patience(recipe: Recipe, *, validated: bool) -> None:
    """Raise UsageError if training is to end by a metric that is never measured."""
    if recipe.schedule.patience is not None and not validated:
        raise UsageError(
            "training is to end by a metric, and there are no data to measure it on",
            where="schedule.patience",
            hint="give --val, or schedule.patience=null",
        )


def check_batch(recipe: Recipe, world: World) -> None:
    """Raise UsageError if there are more processes than images a step."""
    batch = recipe.schedule.batch
    if batch < world.size:
        raise UsageError(
            f"{world.size} processes divide the {batch} images of a step: some would have none",
            where="schedule.batch",
            hint=f"start no more than {batch}, or give --set schedule.batch={world.size} "
            "or more; the learning rate is for all images of a step",
        )


@contextmanager
def _log(
    recipe: Recipe, out: Path, done: Progress, steps: int, world: World, sinks: Sequence[Sink]
) -> Iterator[RunLog | None]:
    """Write the recipe and open the log of a run, without the rows that come again.

    Yields:
        the log; None in all processes but the first: they write nothing.
    """
    if not world.first:
        yield None
        return
    write_text(out / "recipe.yaml", dump_recipe(recipe))
    logged = done.epoch - (done.unvalidated is not None)
    place = done.epoch * steps + done.step
    with RunLog(out, steps=place, epochs=logged, sinks=sinks) as log:
        yield log


def _start_report(
    loop: Loop, annotations: Annotations, out: Path, images: int, done: Progress
) -> StartReport:
    device = next(loop.detector.parameters()).device
    objects, ignored = int(learnable(annotations).sum()), int(annotations.ignore.sum())
    steps = len(loop.batches)
    return StartReport(
        loop.recipe, device, out, images, objects, ignored, done.epoch, steps, done.step,
        loop.trained.world.size, loop.categories,
    )  # fmt: skip


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
