"""A training run from paths of data and a recipe, which are kept for resuming."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sodkit.config import DEFAULT_RECIPES, dump_recipe, load_recipe
from sodkit.data.checking.missing_files import check_images_exist
from sodkit.data.checking.oddities import oddities
from sodkit.data.formats import choose_subset, find_images, read_annotations
from sodkit.data.formats.subsets import TRAINED, VALIDATED
from sodkit.data.left_out import LEFT_OUT, LeftOut
from sodkit.data.records import Annotations
from sodkit.engine.device import pick_device
from sodkit.engine.log import Row
from sodkit.engine.loop import StepReport, Validate
from sodkit.engine.paths import DataPaths, read_paths, write_paths
from sodkit.engine.predict import predict_images
from sodkit.engine.run_folder import (
    METRICS,
    RECIPE,
    RUN,
    STATE,
    check_run_folder,
    clear_run,
    remove_leftovers,
)
from sodkit.engine.train import StartReport, check_kind, train, training_set
from sodkit.errors import DataError, UsageError
from sodkit.evaluation.evaluate import evaluate
from sodkit.evaluation.protocol import protocol_of
from sodkit.files import write_text
from sodkit.lock import check_no_writer, lock_folder
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What ``execute`` does; ``overwrite``: a finished run in ``out`` may be replaced."""

    recipe: Recipe
    paths: DataPaths
    out: Path
    resume: bool
    overwrite: bool = False


def fresh_plan(
    recipe: str | None,
    overrides: Sequence[str],
    *,
    data: Path | None,
    images: Path | None,
    val: Path | None,
    val_images: Path | None,
    out: Path | None,
    format_name: str | None,
    overwrite: bool = False,
    skip_bad: bool = False,
) -> RunPlan:
    """Plan a new run; recipe None takes the one of ``DEFAULT_RECIPES`` that fits the data.

    With ``skip_bad``, boxes without size and images that cannot be read are left out.

    Raises:
        UsageError: a path is missing, or ``out`` is taken.
        DataError: no recipe is named and the data cannot be read.
    """
    if data is None or out is None:
        raise UsageError("--data and --out are needed", hint="or --resume RUN to continue a run")
    check_no_writer(out)
    check_run_folder(out, overwrite=overwrite)
    rest = [None if path is None else str(path) for path in (images, val, val_images)]
    paths = DataPaths(str(data), rest[0], rest[1], rest[2], format_name, skip_bad)
    if recipe is None:
        report = LeftOut(bad=skip_bad).report
        subset = choose_subset(data, None, TRAINED, format_name).name or None
        kind = read_annotations(
            data, format=format_name, images=images, report=report, subset=subset
        ).kind
        recipe = DEFAULT_RECIPES[kind]
    return RunPlan(load_recipe(recipe, overrides), paths, out, resume=False, overwrite=overwrite)


def resumed_plan(
    run: Path,
    overrides: Sequence[str],
    *,
    out: Path | None,
    recipe: str | None = None,
    data: Path | None = None,
    images: Path | None = None,
    val: Path | None = None,
    val_images: Path | None = None,
    format_name: str | None = None,
    skip_bad: bool = False,
) -> RunPlan:
    """Plan to continue ``run`` with its own recipe (plus ``overrides``) and data.

    A run that was stopped before its first state starts anew: the plan says ``resume=False``. A
    recipe or paths that are given replace the run's own; ``train`` compares their content with it.

    Raises:
        UsageError: there is no run to continue, or another process writes to it.
    """
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
    paths = _replaced(read_paths(run), data, images, val, val_images)
    paths = replace(
        paths,
        format_name=format_name or paths.format_name,
        skip_bad=skip_bad or paths.skip_bad,
    )
    return RunPlan(load_recipe(recipe or str(run / RECIPE), overrides), paths, run, resume=resume)


def _replaced(
    paths: DataPaths,
    data: Path | None,
    images: Path | None,
    val: Path | None,
    val_images: Path | None,
) -> DataPaths:
    """Return the paths of a run with those that are given; images go with their annotations."""
    if data is not None:
        paths = replace(paths, data=str(data), images=None)
    if images is not None:
        paths = replace(paths, images=str(images))
    if val is not None:
        paths = replace(paths, val=str(val), val_images=None)
    if val_images is not None:
        paths = replace(paths, val_images=str(val_images))
    return paths


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
    say: Callable[[str], None] = lambda message: None,
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
        say: called with a sentence about annotations that look wrong and are trained on.

    Raises:
        UsageError: another process writes to the run's folder, or it may not be written to.
    """
    with lock_folder(plan.out):
        if not plan.resume:
            check_run_folder(plan.out, overwrite=plan.overwrite)
        target = pick_device(device)
        if threads is not None:
            torch.set_num_threads(threads)
        left = LeftOut(bad=plan.paths.skip_bad)
        annotations, images = _read(
            plan.paths.data, plan.paths.images, plan.paths, left, TRAINED, say
        )
        training_set(plan.recipe, annotations, images)  # before an earlier run is replaced
        for sentence in oddities(annotations):
            say(f"{plan.paths.data}: {sentence}")
        validate, validation = _validator(plan, annotations, target, left, on_validate, say)
        if not plan.resume:
            clear_run(plan.out)
            write_paths(plan.out, plan.paths)
            write_text(plan.out / RECIPE, dump_recipe(plan.recipe))
        remove_leftovers(plan.out)
        left.write(plan.out / LEFT_OUT)
        for sentence in left.sentences(plan.out / LEFT_OUT):
            say(sentence)
        rows: list[Row] = []

        def keep(row: Row) -> None:
            rows.append(row)
            on_epoch(row)

        train(
            plan.recipe, annotations, images, plan.out, device=target, workers=workers,
            resume=plan.resume, validate=validate, validation=validation, on_start=on_start,
            on_step=on_step, on_epoch=keep, say=say,
        )  # fmt: skip
    if not rows:
        raise UsageError(
            f"the run has all of its {plan.recipe.schedule.epochs} epochs", where=plan.out,
            hint="--epochs N makes it longer",
        )  # fmt: skip
    return rows[-1]


def check_same_classes(trained: Annotations, other: Annotations, where: str) -> None:
    """Raise DataError unless both know the same classes, by name and order."""
    have, want = ([c.name for c in a.categories] for a in (other, trained))
    if have != want:
        raise DataError(
            f"its classes are {', '.join(have)}; training has {', '.join(want)}",
            where=where,
            hint="subsets of one root folder share a list: give it as --data and as --val",
        )


def _read(
    path: str,
    images: str | None,
    paths: DataPaths,
    left: LeftOut,
    kinds: Sequence[str],
    say: Callable[[str], None],
) -> tuple[Annotations, Path]:
    """Read annotations, of a root folder the subset of one of these kinds.

    Returns:
        them, and the folder where ``file_name`` starts.
    """
    source = Path(path)
    folder = None if images is None else Path(images)
    subset = choose_subset(source, None, kinds, paths.format_name).name or None
    if subset is not None:
        say(f"{path}: the subset {subset} is read")
    annotations = read_annotations(
        source, format=paths.format_name, images=folder, report=left.report, subset=subset
    )
    folder = folder or find_images(source, annotations, subset=subset)
    return left.readable(annotations, folder), folder


def _validator(
    plan: RunPlan,
    trained: Annotations,
    device: torch.device,
    left: LeftOut,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> tuple[Validate | None, Annotations | None]:
    """Return a function that predicts on a run's validation images and returns every AP.

    Returns:
        it, and the annotations of those images; None, None: the run has none.
    """
    recipe, paths = plan.recipe, plan.paths
    if paths.val is None:
        return None, None
    val, folder = _read(paths.val, paths.val_images, paths, left, VALIDATED, say)
    check_same_classes(trained, val, paths.val)
    check_kind(recipe, val)
    check_images_exist(val.images, folder, "--val-images")
    protocol = protocol_of(recipe.evaluation, val.kind)
    names = [metric.name for metric in protocol.metrics if metric.kind == "AP"]

    def validate(detector: DetectorModule) -> dict[str, float | None]:
        found = predict_images(
            detector, recipe, val.images, folder, device=device, progress=progress
        )
        metrics = evaluate(val, found, protocol).metrics
        return {name: metrics[name] for name in names}

    return validate, val
