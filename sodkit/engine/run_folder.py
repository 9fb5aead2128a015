"""The folder of a training run: its checkpoint, and what may be replaced in it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from sodkit.data.left_out import LEFT_OUT
from sodkit.errors import ModelError, UsageError
from sodkit.files import TEMPORARY
from sodkit.outputs import is_free, remove_files

RUN = "run.json"
"""Says what a run was trained on; a folder with it is a run's."""
RECIPE = "recipe.yaml"
METRICS = "metrics.csv"
CHECKPOINTS = "checkpoints"
STATE = Path(CHECKPOINTS) / "state.safetensors"

EPOCH = "epoch-{:04}.safetensors"
"""The checkpoint after so many epochs, where ``schedule.keep_every`` keeps it."""

_BEST_FIRST = ("best.safetensors", "last.safetensors")

_WRITTEN = (
    RUN,
    RECIPE,
    "losses.csv",
    METRICS,
    "times.csv",
    LEFT_OUT,
    "validation.npz",
    "bad-batch.safetensors",
    "batches.jpg",
    "report.html",
    f"{CHECKPOINTS}/*.safetensors",
    "tensorboard/events.out.tfevents.*",
)
"""What training writes."""

_LEFTOVERS = (f"{TEMPORARY}*", f"{CHECKPOINTS}/{TEMPORARY}*", f"{CHECKPOINTS}/.tmp??????")
"""Temporary files of ours and of safetensors, which a killed run leaves."""


def checkpoint_in(path: Path) -> Path:
    """Return the checkpoint that a path means: of a run's folder the best, else the last.

    A path that is no folder is returned as it is.

    Raises:
        ModelError: a folder without a checkpoint.
    """
    if not path.is_dir():
        return path
    folders = (path / CHECKPOINTS, path)
    for file in (folder / name for folder in folders for name in _BEST_FIRST):
        if file.is_file():
            return file
    raise ModelError(
        "there is no checkpoint in this folder",
        where=path,
        hint=f"give a .safetensors file, or a run's folder with {CHECKPOINTS}/{_BEST_FIRST[1]}",
    )


def checkpoints_in(path: Path) -> dict[Path, int | None]:
    """Return the checkpoints that a path means, with their epochs.

    Of a run's folder they are those of its epochs, ascending; if it keeps none, or the path is
    another, the one of ``checkpoint_in`` with None.

    Raises:
        ModelError: a folder without a checkpoint.
    """
    files = {_epoch(file): file for file in (path / CHECKPOINTS).glob("epoch-*.safetensors")}
    epochs = sorted(epoch for epoch in files if epoch is not None)
    return {files[epoch]: epoch for epoch in epochs} or {checkpoint_in(path): None}


def _epoch(file: Path) -> int | None:
    number = file.stem.removeprefix("epoch-")
    return int(number) if number.isascii() and number.isdecimal() else None


def check_run_folder(run: Path, *, overwrite: bool) -> None:
    """Raise unless a new run may write to ``run``.

    It may if the folder is new, holds a run that ended before its first epoch, or, with
    ``overwrite``, any run.

    Raises:
        UsageError: it holds something else.
    """
    may_replace = overwrite or not (run / STATE).exists()
    if is_free(run) or ((run / RUN).is_file() and may_replace):
        return
    if overwrite:
        raise UsageError(
            "is not empty and holds no run: --overwrite replaces only what train wrote",
            where=run,
            hint="give another folder by --out",
        )
    raise UsageError(
        "exists already",
        where=run,
        hint="give another --out, --overwrite to replace it, or continue it with --resume",
    )


def clear_run(run: Path) -> None:
    """Remove what an earlier run wrote; other files stay."""
    _remove(run, _WRITTEN)


def remove_leftovers(run: Path) -> None:
    """Remove the half-written files of runs that were killed; only for the folder's writer."""
    _remove(run, _LEFTOVERS)


def _remove(run: Path, patterns: tuple[str, ...]) -> None:
    names = [path.relative_to(run).as_posix() for path in run.rglob("*")]
    remove_files(run, [n for n in names if any(fnmatchcase(n, known) for known in patterns)])
