"""Checkpoints: one ``.safetensors`` with recipe and classes inside; nothing is ever unpickled.

``last.safetensors``   the detector: weights, exemplars; metadata: recipe, classes, version
``state.safetensors``  beside it, to resume: weights, moments and place in the epoch in one file, so
                       that they always belong together, whenever the run is killed

What the metadata hold is in ``metadata.py``. Equal content gives equal bytes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sodkit.data.records import Category
from sodkit.engine.build import as_detector, without_weights
from sodkit.engine.metadata import (
    IMPORT,
    KEY,
    CheckpointInfo,
    Info,
    Progress,
    RunInfo,
    StateInfo,
    read_info,
)
from sodkit.errors import ModelError, SodkitError
from sodkit.files import StrPath, atomic_path
from sodkit.models.detector import DetectorModule
from sodkit.models.zoo import build
from sodkit.settings import Recipe
from sodkit.settings.detectors import Model
from sodkit.settings.outside import Outside

MOMENTS = {"SGD": ("momentum_buffer",), "AdamW": ("step", "exp_avg", "exp_avg_sq")}
"""What PyTorch's optimisers keep of a parameter."""


DAMAGED = (
    "a state that is cut or damaged cannot be resumed from: train anew with --overwrite; the "
    "detector after the last whole epoch is in last.safetensors beside it"
)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A detector ready to run, with what it was trained for."""

    detector: DetectorModule
    recipe: Recipe
    categories: tuple[Category, ...]

    def __repr__(self) -> str:
        return f"<Checkpoint of {self.recipe.name}: {len(self.categories)} classes>"


def save_checkpoint(
    path: Path, detector: nn.Module, recipe: Recipe, categories: tuple[Category, ...]
) -> None:
    """Write the detector with recipe and classes, all or nothing."""
    info = CheckpointInfo(recipe=recipe, categories=tuple((c.id, c.name) for c in categories))
    save_tensors(path, detector.state_dict(), info)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], CheckpointInfo]:
    """Return the tensors of a checkpoint and what it says of itself.

    Raises:
        ModelError: no such file, not a checkpoint of ours, or metadata of the wrong type.
    """
    tensors, metadata = load_tensors(path, IMPORT)
    return tensors, read_info(CheckpointInfo, metadata, path)


def load_checkpoint(
    path: StrPath, device: torch.device | str = "cpu", *, detector: nn.Module | None = None
) -> Checkpoint:
    """Read a checkpoint and build its detector, in evaluation mode, on ``device``.

    Args:
        path: the ``.safetensors`` file.
        device: where the detector goes; of text PyTorch's name, such as ``cuda:0``.
        detector: the module that the weights go into, for a detector from outside: a checkpoint
            never has code imported that it names. None: the recipe's own.

    Raises:
        ModelError: no such file, not a checkpoint of ours, metadata of the wrong type, or tensors
            that do not fit its recipe.
    """
    path = Path(path)
    tensors, info = read_checkpoint(path)
    categories = tuple(Category(number, name) for number, name in info.categories)
    made = made_for(info.recipe.model, len(categories), tensors, path, detector)
    fill(made, tensors, path)
    made = made.to(device=device)
    return Checkpoint(made.eval(), info.recipe, categories)


def made_for(
    model: Model,
    classes: int,
    tensors: Mapping[str, Tensor],
    path: Path,
    given: nn.Module | None,
) -> DetectorModule:
    """Return the detector that the weights go into; of ours without any values so far."""
    if given is not None:
        return as_detector(given)
    if isinstance(model, Outside):
        raise ModelError(
            f"holds a detector from outside (factory: {model.factory}), which is not made here",
            where=path,
            hint="make it yourself: sodkit.load_checkpoint(path, device, detector=mine)",
        )
    plain = without_weights(model)
    try:
        with torch.device("meta"):  # sizes that do not fit are found before memory is taken
            made = build(plain, classes)
        _check_fit(tensors, made.state_dict(), path, "the weights do not fit their recipe")
        # drawing initial weights would take time, and leave holes in the memory of the process
        return made.to_empty(device="cpu")
    except (RuntimeError, MemoryError, OverflowError) as error:  # sizes that no machine holds
        raise ModelError(f"its recipe cannot be built: {error}", where=path) from error


def save_state(
    path: Path,
    detector: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    run: RunInfo | None = None,
    average: Mapping[str, Tensor] | None = None,
) -> None:
    """Write everything that resuming needs, in one file: weights, moments and progress.

    Args:
        path: the file.
        detector: its weights and buffers are written.
        optimizer: its moments are written.
        progress: how far the run is.
        run: what is trained on which data, which resuming compares.
        average: of the parameters, by their names, if there is one.
    """
    names = {parameter: name for name, parameter in detector.named_parameters()}
    moments = {
        f"optimizer.{names[parameter]}.{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(parameter, nn.Parameter) and isinstance(value, Tensor)
    }
    weights = {f"weights.{name}": value for name, value in detector.state_dict().items()}
    info = StateInfo(optimizer=type(optimizer).__name__, progress=progress, run=run)
    means = {f"average.{name}": value for name, value in (average or {}).items()}
    save_tensors(path, weights | moments | means, info)


def load_run(path: Path) -> RunInfo | None:
    """Return what a state was saved of, None if it does not say.

    Raises:
        ModelError: the file is missing, damaged or not a training state.
    """
    with _opened(path, DAMAGED) as file:
        return read_info(StateInfo, dict(file.metadata() or {}), path).run


def load_state(
    path: Path,
    detector: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor] | None = None,
) -> Progress:
    """Put weights, moments and the average back as ``save_state`` found them.

    Args:
        path: the file.
        detector: its weights and buffers are filled.
        optimizer: its moments are filled.
        average: tensors that are filled, by the names of the parameters, if there is an average.

    Raises:
        ModelError: the file is missing, not a training state, of another recipe or optimiser, or
            holds tensors that do not fit.
    """
    tensors, metadata = load_tensors(path, DAMAGED)
    info = read_info(StateInfo, metadata, path)
    now = type(optimizer).__name__
    if info.optimizer != now:
        raise ModelError(
            f"the run was trained with {info.optimizer}, the recipe now says {now}",
            where=path,
            hint="resume without changing schedule.optimizer, or start another run",
        )
    fill(detector, part_of(tensors, "weights."), path)
    moments = part_of(tensors, "optimizer.")
    wanted = {
        f"{name}.{key}": torch.empty((), device="meta") if key == "step" else parameter
        for name, parameter in detector.named_parameters()
        for key in MOMENTS[now]
        if any(f"{name}.{one}" in moments for one in MOMENTS[now])
    }
    _check_fit(moments, wanted, path, "the optimiser's moments do not fit their recipe")
    for name, value in moments.items():
        if name.endswith(".step") and not 0 <= float(value) < 2**53:
            raise ModelError(f"{name} is no number of steps: {float(value):g}", where=path)
    for name, parameter in detector.named_parameters():
        found = part_of(moments, f"{name}.")
        if found:
            optimizer.state[parameter] = {k: _beside(parameter, v) for k, v in found.items()}
    means = part_of(tensors, "average.")
    _check_fit(means, average or {}, path, "the average of the weights does not fit the recipe")
    for name, value in means.items():
        (average or {})[name].copy_(value)
    return info.progress


def _beside(parameter: Tensor, value: Tensor) -> Tensor:
    """Lay a moment out in memory like its parameter; step counts stay as they are."""
    return value if value.ndim == 0 else torch.empty_like(parameter).copy_(value)


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy tensors into a module that they fit."""
    _check_fit(tensors, module.state_dict(), path, "the weights do not fit their recipe")
    module.load_state_dict(tensors)


def _check_fit(
    tensors: Mapping[str, Tensor], want: Mapping[str, Tensor], path: Path, what: str
) -> None:
    """Raise naming the first tensor that is missing, unknown, or of another shape or type."""
    both = [(key, tensors[key], value) for key, value in want.items() if key in tensors]
    problems = [
        *(f"missing: {key}" for key in want if key not in tensors),
        *(f"unknown: {key}" for key in tensors if key not in want),
        *(
            f"{key} has shape {tuple(found.shape)}, expected {tuple(value.shape)}"
            for key, found, value in both
            if found.shape != value.shape
        ),
        *(
            f"{key} has type {_name(found.dtype)}, expected {_name(value.dtype)}"
            for key, found, value in both
            if found.dtype != value.dtype
        ),
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ModelError(f"{what}: {problems[0]}{more}", where=path)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def save_tensors(path: Path, tensors: Mapping[str, Tensor], info: Info) -> None:
    """Write tensors and what they are, all or nothing."""
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with atomic_path(path) as temporary:
        mode = temporary.stat().st_mode
        try:
            save_file(plain, temporary, metadata={KEY: info.model_dump_json()})
        except SafetensorError as error:  # it wraps the system's errors, such as a full disk
            raise SodkitError(
                f"cannot be written: {error}", where=path, hint="is there room on the disk?"
            ) from error
        # safetensors puts a file of its own there, which nobody else may read
        temporary.chmod(stat.S_IMODE(mode))
        with temporary.open("rb+") as file:  # else a power failure could leave the name without it
            os.fsync(file.fileno())


def load_tensors(path: Path, hint: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata."""
    with _opened(path, hint) as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return tensors, dict(file.metadata() or {})


@contextmanager
def _opened(path: Path, hint: str) -> Iterator[Any]:
    """Open a safetensors file; ``hint`` is what to do where it is none."""
    if not path.is_file():
        raise ModelError("checkpoint not found", where=path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ModelError(f"not a safetensors file: {error}", where=path, hint=hint) from error
