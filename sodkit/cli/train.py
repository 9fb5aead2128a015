"""``sodkit train``: trains a detector from a recipe."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sodkit.cli.options import (
    Angle,
    Area,
    BitDepth,
    Changes,
    Classes,
    Device,
    Difficult,
    Format,
    Json,
    Oriented,
    Overwrite,
    SkipBad,
)
from sodkit.errors import SodkitError, UsageError

if TYPE_CHECKING:
    from sodkit.engine.log import Row
    from sodkit.engine.paths import DataPaths
    from sodkit.engine.training_run import RunPlan
    from sodkit.engine.world import World


Resume = Annotated[
    Path | None,
    typer.Option(help="A run's folder: continue it where it stopped, with its recipe and data."),
]
Init = Annotated[
    Path | None,
    typer.Option(help="Begin with this checkpoint, or run's best; its classes may be others."),
]
LogTo = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="Log to mlflow, wandb or both, too, in the run's folder."),
]
Replay = Annotated[
    Path | None,
    typer.Option(help="Run again the step of a run that ended because a loss was not finite."),
]
Workers = Annotated[int, typer.Option(min=0, help="Processes that read images.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads of the model (default: all cores).")
]
AUTO = "auto"
BatchSize = Annotated[
    str | None,
    typer.Option(metavar="N|auto", help="Images a step; auto: as many as a GPU's memory holds."),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Short for --set seed=N.")]


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Built-in recipe (sodkit recipes) or YAML file (default: CFINet for the data's "
            "kind of box)."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Annotations of the patches: what `split` wrote, or any ANN."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Where file_name starts (default: beside --data).")
    ] = None,
    val: Annotated[
        Path | None, typer.Option(help="Annotations of whole images to evaluate on.")
    ] = None,
    val_images: Annotated[
        Path | None, typer.Option(help="Where their file_name starts (default: beside --val).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.")] = None,
    init: Init = None,
    resume: Resume = None,
    overrides: Changes = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Short for --set schedule.epochs=N.")
    ] = None,
    seed: Seed = None,
    batch: BatchSize = None,
    bit_depth: BitDepth = None,
    format_: Format = None,
    difficult: Difficult = None,
    area: Area = None,
    angle: Angle = None,
    oriented: Oriented = False,
    classes: Classes = None,
    device: Device = "auto",
    workers: Workers = 2,
    threads: Threads = None,
    log_to: LogTo = None,
    replay: Replay = None,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a detector; checkpoints and logs go to the run's folder.

    Example: sodkit train cfinet-r50-soda-d --data patches --val val.json --out runs/cfinet
    """
    from sodkit.cli.common import note, silent
    from sodkit.cli.replay import show_replay
    from sodkit.cli.train_view import train_view
    from sodkit.data.formats import Reading
    from sodkit.engine.connection import joined
    from sodkit.engine.sinks import sink_names
    from sodkit.viz.training import run_training

    if replay is not None:
        show_replay(replay, device, as_json=as_json)
        return
    given = _given(
        data=data, images=images, val=val, val_images=val_images, format_name=format_,
        skip_bad=skip_bad, reading=Reading(difficult, area, angle, oriented), classes=classes,
        init=init,
    )  # fmt: skip
    short = {"schedule.epochs": epochs, "seed": seed, "input.bit_depth": bit_depth}
    changes = _changes(overrides, short | {"schedule.batch": batch_number(batch)})
    fit = {"overwrite": overwrite, "fit_batch": batch == AUTO}
    with joined() as world:
        plan = world.from_first(lambda: _plan(recipe, changes, given, out, resume, **fit))
        with _way_on(plan, world), train_view(shown=world.first) as view:
            result = run_training(
                plan, device=device, workers=workers, threads=threads, on_start=view.start,
                on_step=view.step, on_validate=view.validate, on_epoch=view.epoch,
                say=note if world.first else silent, world=world,
                sinks=sink_names(log_to),
            )  # fmt: skip
        if world.first:
            _print(plan, result, as_json=as_json)


def _print(plan: RunPlan, result: Row, *, as_json: bool) -> None:
    """Print the last epoch, and the next command."""
    from sodkit.cli.common import note, print_json
    from sodkit.cli.tables import print_table

    if as_json:
        print_json({"run": str(plan.folder), "last_epoch": result})
    else:
        rows = [(name, f"{value:.4g}") for name, value in result.items() if value is not None]
        print_table(f"run {plan.folder}", ("last epoch", ""), rows)
    note(f"next: {next_command(plan.folder, plan.paths)}")


def _plan(
    recipe: str | None,
    changes: list[str],
    given: dict[str, Any],
    out: Path | None,
    resume: Path | None,
    *,
    overwrite: bool,
    fit_batch: bool,
) -> RunPlan:
    """Plan a new run, or to go on with one."""
    from sodkit.cli.common import note
    from sodkit.engine.paths import DataPaths
    from sodkit.engine.training_run import fresh_plan, resumed_plan

    given = _with_checkpoint(given)
    if resume is None:
        if out is None or "data" not in given:
            raise UsageError("--data and --out are needed", hint="or --resume RUN goes on with one")
        paths = DataPaths(**given)
        plan = fresh_plan(recipe, changes, paths=paths, out=out, overwrite=overwrite)
        return replace(plan, fit_batch=fit_batch)
    if overwrite or fit_batch:
        option = "--overwrite" if overwrite else "--batch auto"
        raise UsageError(f"--resume continues a run: leave {option} away")
    plan = resumed_plan(resume, changes, out=out, recipe=recipe, given=given)
    if not plan.resume:
        note(f"{resume}: no state was saved before the run stopped: it starts anew")
    return plan


def batch_number(text: str | None) -> int | None:
    """Return the number that ``--batch`` gives; None: it gives none.

    Raises:
        UsageError: it is neither a number nor ``auto``.
    """
    if text is None or text == AUTO:
        return None
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise UsageError(f"expected a number of images, or {AUTO}, not {text!r}", where="--batch")
    return int(text)


def _with_checkpoint(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is given with the file that ``init`` stands for."""
    from sodkit.cli.common import chosen_checkpoint

    return given | (
        {"init": str(chosen_checkpoint(Path(given["init"])))} if "init" in given else {}
    )


def _changes(overrides: list[str] | None, short: dict[str, int | None]) -> list[str]:
    """Return what ``--set`` gives, and the options that are short for it."""
    return [
        *(overrides or ()),
        *(f"{key}={value}" for key, value in short.items() if value is not None),
    ]


def _given(**options: Any) -> dict[str, Any]:
    """Return the fields of ``DataPaths`` that options give; paths as text."""
    from sodkit.data.formats.reading import AS_STATED

    values = {k: str(v) if isinstance(v, Path) else v for k, v in options.items()}
    return {key: value for key, value in values.items() if value and value != AS_STATED}


@contextmanager
def _way_on(plan: RunPlan, world: World) -> Iterator[None]:
    """Say how to go on with a run that stopped after it had begun to train."""
    from sodkit.cli.common import note
    from sodkit.engine.run_folder import STATE

    state = plan.folder / STATE
    before = state.stat().st_mtime_ns if state.is_file() else None
    try:
        yield
    except (SodkitError, KeyboardInterrupt, RuntimeError):  # the last: a process that is lost
        if world.first and state.is_file() and state.stat().st_mtime_ns != before:
            start = ["sodkit"] if world.size == 1 else ["torchrun", "...", "-m", "sodkit"]
            note(f"to go on: {shlex.join([*start, 'train', '--resume', str(plan.folder)])}")
        raise


def next_command(run: Path, paths: DataPaths) -> str:
    """Return the command that predicts with a run's best checkpoint, on its validation images."""
    best, last = (run / "checkpoints" / f"{name}.safetensors" for name in ("best", "last"))
    words = ["sodkit", "predict", str(best if best.is_file() else last)]
    if paths.val is None:
        words += ["IMAGES"]
    else:
        words += [str(paths.val)]
        words += [] if paths.val_images is None else ["--images", str(paths.val_images)]
        words += [] if paths.format_name is None else ["--format", paths.format_name]
    return shlex.join([*words, "--out", str(run / "predictions.json")])
