"""A training run from paths of data and a recipe, which are kept for resuming."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sodkit.config import DEFAULT_RECIPES, dump_recipe, load_recipe
from sodkit.data.batches import Batch
from sodkit.data.checking.missing_files import check_images_exist
from sodkit.data.checking.oddities import oddities
from sodkit.data.formats.subsets import TRAINED, VALIDATED
from sodkit.data.left_out import LEFT_OUT, LeftOut
from sodkit.data.naming import find_class, listed
from sodkit.data.opening import of_one_subset, open_source
from sodkit.data.records import REGION, Annotations, Category
from sodkit.engine.batch_size import fitting_batch
from sodkit.engine.checkpoint import read_checkpoint
from sodkit.engine.device import pick_device
from sodkit.engine.log import Row
from sodkit.engine.paths import DataPaths, read_paths, write_paths
from sodkit.engine.predict_options import PredictOptions
from sodkit.engine.reports import StartReport, StepReport
from sodkit.engine.run_folder import (
    METRICS,
    RECIPE,
    RUN,
    STATE,
    check_run_folder,
    clear_run,
    remove_leftovers,
)
from sodkit.engine.sinks import SinkName, check_sinks, open_sinks
from sodkit.engine.train import check_batch, check_kind, check_patience, train, training_set
from sodkit.engine.validation import Validated, Validation, metric_names
from sodkit.engine.world import ALONE, World
from sodkit.errors import DataError, UsageError
from sodkit.evaluation.protocol import protocol_of
from sodkit.files import StrPath, write_text
from sodkit.lock import check_no_writer, lock_folder
from sodkit.settings import Recipe
from sodkit.tiling.folder import depth_of_patches


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What ``execute`` does.

    Attributes:
        recipe: what is trained.
        paths: on which data.
        out: the run's folder; as a path it is ``folder``.
        resume: go on from its state.
        overwrite: a finished run in ``out`` may be replaced.
        fit_batch: ``schedule.batch`` is to be the largest that the GPU's memory holds.
    """

    recipe: Recipe
    paths: DataPaths
    out: StrPath
    resume: bool
    overwrite: bool = False
    fit_batch: bool = False

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.out)


def fresh_plan(
    recipe: str | None,
    overrides: Sequence[str],
    *,
    paths: DataPaths,
    out: StrPath,
    overwrite: bool = False,
) -> RunPlan:
    """Plan a new run; recipe None takes the one of ``DEFAULT_RECIPES`` that fits the data.

    Patches that were cut with a stated bit depth set ``input.bit_depth``: prediction then reads
    images as they were read.

    Raises:
        UsageError: ``out`` is taken.
        DataError: no recipe is named and the data cannot be read.
    """
    out = Path(out)
    check_no_writer(out)
    check_run_folder(out, overwrite=overwrite)
    if recipe is None:
        left = LeftOut(bad=paths.skip_bad)
        source = of_one_subset(paths.source(paths.data, paths.images), _nothing, TRAINED)
        recipe = DEFAULT_RECIPES[open_source(source, left, _nothing).kind]
    depth = depth_of_patches(Path(paths.data))
    overrides = [*([f"input.bit_depth={depth}"] if depth else []), *overrides]
    return RunPlan(load_recipe(recipe, overrides), paths, out, resume=False, overwrite=overwrite)


def resumed_plan(
    run: StrPath,
    overrides: Sequence[str],
    *,
    out: StrPath | None,
    recipe: str | None = None,
    given: Mapping[str, Any] | None = None,
) -> RunPlan:
    """Plan to continue ``run`` with its own recipe (plus ``overrides``) and data.

    A run that was stopped before its first state starts anew: the plan says ``resume=False``. A
    recipe, or fields of ``DataPaths`` in ``given``, replace the run's own; ``train`` compares their
    content with it.

    Raises:
        UsageError: there is no run to continue, or another process writes to it.
    """
    run = Path(run)
    out = None if out is None else Path(out)
    if out is not None and out != run:
        raise UsageError("--resume continues in the run's own folder: leave --out away")
    check_no_writer(run)
    if not (run / RUN).is_file():
        raise UsageError("holds no training run", where=run, hint="train with --out starts one")
    resume = (run / STATE).is_file()
    if not resume and (run / METRICS).exists():
        raise UsageError(
            "the run has finished an epoch, and its state is missing",
            where=run / STATE,
            hint="restore the file, or train anew with --out and --overwrite",
        )
    paths = _replaced(read_paths(run), given or {})
    return RunPlan(load_recipe(recipe or str(run / RECIPE), overrides), paths, run, resume=resume)


def _replaced(paths: DataPaths, given: Mapping[str, Any]) -> DataPaths:
    """Return the paths of a run with those that are given; images go with their annotations."""
    if "init" in given:
        raise UsageError("--resume goes on with the run's own weights: leave --init away")
    if "data" in given:
        paths = replace(paths, images=None)
    if "val" in given:
        paths = replace(paths, val_images=None)
    return replace(paths, **given)


def execute(
    plan: RunPlan,
    *,
    device: str = "auto",
    workers: int = 2,
    threads: int | None = None,
    on_start: Callable[[StartReport], None] = lambda report: None,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_validate: Callable[[int, int], None] = lambda done, total: None,
    on_epoch: Callable[[Row], None] = lambda row: None,
    on_batch: Callable[[Batch], None] = lambda batch: None,
    on_end: Callable[[Validated | None], None] = lambda validated: None,
    say: Callable[[str], None] = lambda message: None,
    sinks: Sequence[SinkName] = (),
    world: World = ALONE,
) -> Row:
    """Read the data, train, and return the last epoch's row of ``metrics.csv``.

    Args:
        plan: from ``fresh_plan`` or ``resumed_plan``.
        device: as ``pick_device`` takes it.
        workers: processes that read images.
        threads: CPU threads of the model, None: all cores.
        on_start: called before the first step.
        on_step: called after every step.
        on_validate: called with (done, total) images of a validation.
        on_epoch: called after every epoch.
        on_batch: called before every step with its batch of bytes.
        on_end: called after the last epoch with what was found on the validation images, None:
            there are none.
        say: called with a sentence about annotations that look wrong and are trained on.
        sinks: where the numbers go beside the run's files and TensorBoard.
        world: the processes that train together; each one calls this with the same plan, and the
            first one writes.

    Raises:
        MissingExtraError: the package of a sink is not installed.
        UsageError: another process writes to the run's folder, or it may not be written to.
    """
    check_sinks(sinks)
    with _claimed(plan, world), ExitStack() as stack:
        target = pick_device(device, world)
        if threads is not None:
            torch.set_num_threads(threads)
        left = LeftOut(bad=plan.paths.skip_bad, bit_depth=plan.recipe.input.bit_depth)
        annotations, images = _training_data(plan, left, say, world)
        plan = _fitted(plan, annotations, images, target, say, world)
        validation = _validation(plan, annotations, target, left, on_validate, say, world)
        if world.first:
            _write_start(plan, left, say)
        rows: list[Row] = []
        begun: list[StartReport] = []

        def start(report: StartReport) -> None:
            begun.append(report)
            on_start(report)

        def keep(row: Row) -> None:
            rows.append(row)
            on_epoch(row)

        names = sinks if world.first else ()
        places = open_sinks(names, plan.folder, plan.recipe)
        opened = [stack.enter_context(closing(one)) for one in places]
        train(
            plan.recipe, annotations, images, plan.folder, device=target, workers=workers,
            resume=plan.resume, validate=validation, sinks=opened, on_start=start,
            validation=None if validation is None else validation.annotations,
            on_step=on_step, on_epoch=keep, on_batch=on_batch, say=say, world=world,
            on_best=(lambda: None) if validation is None else validation.keep,
            init=None if plan.paths.init is None else Path(plan.paths.init),
        )  # fmt: skip
        if not rows:
            raise _nothing_to_do(plan, begun[0])
        if world.first:
            on_end(None if validation is None else validation.kept())
    return rows[-1]


def _fitted(
    plan: RunPlan,
    annotations: Annotations,
    images: Path,
    device: torch.device,
    say: Callable[[str], None],
    world: World,
) -> RunPlan:
    """Return the plan with the largest batch that the memory of every process's GPU holds."""
    if not plan.fit_batch:
        return plan
    schedule = plan.recipe.schedule
    if device.type != "cuda":
        say(f"--batch auto tries what a GPU's memory holds; on {device} it stays {schedule.batch}")
        return plan
    dataset = training_set(plan.recipe, annotations, images)
    mine = fitting_batch(plan.recipe, dataset, len(annotations.categories), device)
    batch = -int(world.most(torch.tensor(-mine))) * world.size
    say(
        f"--batch auto: {batch} images a step, the recipe had {schedule.batch}; "
        f"schedule.lr={schedule.lr:g} is left as it is"
    )
    fitted = schedule.model_copy(update={"batch": batch})
    return replace(plan, recipe=plan.recipe.model_copy(update={"schedule": fitted}))


@contextmanager
def _claimed(plan: RunPlan, world: World) -> Iterator[None]:
    """Be the only run that writes to the folder; the first process writes for all."""
    with lock_folder(plan.folder) if world.first else nullcontext():
        if world.first and not plan.resume:
            check_run_folder(plan.folder, overwrite=plan.overwrite)
        yield


def _training_data(
    plan: RunPlan, left: LeftOut, say: Callable[[str], None], world: World
) -> tuple[Annotations, Path]:
    """Read what is trained on; all that is wrong is said before an earlier run is replaced.

    Returns:
        the annotations, and the folder where ``file_name`` starts.
    """
    paths = plan.paths
    annotations, images = _read(paths.data, paths.images, paths, left, TRAINED, say)
    training_set(plan.recipe, annotations, images)
    check_patience(plan.recipe, validated=paths.val is not None)
    check_batch(plan.recipe, world)
    for sentence in oddities(annotations):
        say(f"{paths.data}: {sentence}")
    if paths.init is not None and not plan.resume:
        read_checkpoint(Path(paths.init))
    return annotations, images


def _write_start(plan: RunPlan, left: LeftOut, say: Callable[[str], None]) -> None:
    """Write what a run knows before it trains; a new run replaces an earlier one."""
    if not plan.resume:
        clear_run(plan.folder)
        write_paths(plan.folder, plan.paths)
        write_text(plan.folder / RECIPE, dump_recipe(plan.recipe))
    remove_leftovers(plan.folder)
    left.write(plan.folder / LEFT_OUT)
    for sentence in left.sentences(plan.folder / LEFT_OUT):
        say(sentence)


def _nothing_to_do(plan: RunPlan, begun: StartReport) -> UsageError:
    """Return why a run that was resumed has not trained."""
    epochs = plan.recipe.schedule.epochs
    if begun.epoch < epochs:
        return UsageError(
            f"the run has ended after {begun.epoch} of {epochs} epochs: schedule.patience",
            where=plan.folder,
            hint="--set schedule.patience=null goes on with it",
        )
    return UsageError(
        f"the run has all of its {epochs} epochs",
        where=plan.folder,
        hint="--epochs N makes it longer",
    )


def with_classes_of(
    trained: Sequence[Category], other: Annotations, where: str, say: Callable[[str], None]
) -> Annotations:
    """Return annotations with the list of classes that is trained on; those are matched by name.

    ``say`` is called with a sentence about names that differ in case only.

    Raises:
        DataError: a class of theirs is not trained.
    """
    names = [category.name for category in trained]
    found = [find_class(category.name, names) for category in other.categories]
    unknown = [c.name for c, label in zip(other.categories, found, strict=True) if label is None]
    if unknown:
        raise DataError(
            f"has classes that are not trained on: {listed(unknown, 20)}", where=where,
            hint=f"--classes {','.join(names)} leaves them out, if the names are spelt alike",
        )  # fmt: skip
    for category, label in zip(other.categories, found, strict=True):
        if label is not None and names[label] != category.name:
            say(f"{where}: class '{category.name}' is taken as the trained '{names[label]}'")
    table = np.array([*found, REGION], np.int64)  # the last is taken by REGION, which is -1
    return replace(other, categories=tuple(trained), labels=table[other.labels])


def _nothing(message: str) -> None:
    """Say nothing: what is read here is read once more."""


def _read(
    path: StrPath,
    images: StrPath | None,
    paths: DataPaths,
    left: LeftOut,
    kinds: Sequence[str],
    say: Callable[[str], None],
) -> tuple[Annotations, Path]:
    """Read annotations, of a root folder the subset of one of these kinds.

    Returns:
        them, and the folder where ``file_name`` starts.
    """
    source = of_one_subset(paths.source(path, images), say, kinds, option="")
    annotations = open_source(source, left, say)
    folder = source.folder(annotations)
    return left.readable(annotations, folder), folder


def _validation(
    plan: RunPlan,
    trained: Annotations,
    device: torch.device,
    left: LeftOut,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
    world: World,
) -> Validation | None:
    """Return what predicts on a run's validation images and returns every AP; None: it has none."""
    recipe, paths = plan.recipe, plan.paths
    if paths.val is None:
        return None
    val, folder = _read(paths.val, paths.val_images, paths, left, VALIDATED, say)
    val = with_classes_of(trained.categories, val, str(paths.val), say)
    check_kind(recipe, val)
    check_images_exist(val.images, folder, "--val-images")
    PredictOptions.of(recipe)  # raises now what would end the first validation
    protocol = protocol_of(recipe.evaluation, val.kind)
    names = metric_names(protocol)
    if recipe.schedule.metric not in names:
        raise UsageError(
            f"the protocol {protocol.name} measures no '{recipe.schedule.metric}'",
            where="schedule.metric",
            hint=f"in training it measures {', '.join(names)}",
        )

    return Validation(plan.folder, recipe, val, folder, protocol, device, progress, world)
