"""Checkpoints: one ``.safetensors`` with recipe and classes inside; nothing is ever unpickled.

``last.safetensors``   the detector: weights, exemplars; metadata: recipe, classes, version
``state.safetensors``  beside it, to resume: weights, moments and epoch in one file, so that they
                       always belong together, whenever the run is killed
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sodkit._version import __version__
from sodkit.config import recipe_from_dict
from sodkit.data.records import Category
from sodkit.errors import ModelError, SodkitError, UsageError
from sodkit.files import atomic_path
from sodkit.models.detector import Detector
from sodkit.models.zoo import build
from sodkit.settings import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A detector ready to run, with what it was trained for."""

    detector: Detector
    recipe: Recipe
    categories: tuple[Category, ...]


def save_checkpoint(
    path: Path, detector: nn.Module, recipe: Recipe, categories: tuple[Category, ...]
) -> None:
    """Write the detector with recipe and classes, all or nothing."""
    metadata = {
        "sodkit": __version__,
        "recipe": recipe.model_dump_json(),
        "categories": json.dumps([[c.id, c.name] for c in categories]),
    }
    _save(path, detector.state_dict(), metadata)


def load_checkpoint(
    path: Path, device: torch.device, roi: Mapping[str, float | int | None] | None = None
) -> Checkpoint:
    """Read a checkpoint and build its detector, in evaluation mode, on ``device``.

    Args:
        path: the ``.safetensors`` file.
        device: where the detector goes.
        roi: settings of ``model.roi`` to change for testing (``nms``, ``score``,
            ``max_per_patch``); None keeps the recipe's.

    Raises:
        ModelError: no such file, not a checkpoint of ours, or tensors that do not fit its recipe.
    """
    tensors, metadata = _load(path)
    if "recipe" not in metadata or "categories" not in metadata:
        raise ModelError(
            "not a sodkit checkpoint: no recipe inside",
            where=path,
            hint="weights of other projects come in by: sodkit import-weights FILE --out CKPT",
        )
    try:
        recipe = recipe_from_dict(json.loads(metadata["recipe"]), str(path))
        categories = tuple(Category(int(i), str(n)) for i, n in json.loads(metadata["categories"]))
    except (UsageError, ValueError, TypeError) as error:
        raise ModelError(
            f"its metadata cannot be read (written by sodkit {metadata.get('sodkit')}): {error}",
            where=path,
        ) from error
    recipe = _for_testing(recipe, {k: v for k, v in (roi or {}).items() if v is not None})
    detector = build(recipe.model, len(categories), recipe.boxes)
    _fill(detector, tensors, path)
    detector = detector.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Checkpoint(detector.eval(), recipe, categories)


def _for_testing(recipe: Recipe, roi: Mapping[str, float | int]) -> Recipe:
    """Return the recipe with the head's test settings, and no weights to start from."""
    model = recipe.model.model_copy(
        update={
            "backbone": recipe.model.backbone.model_copy(update={"weights": None}),
            "roi": recipe.model.roi.model_copy(update=roi),
        }
    )
    return recipe.model_copy(update={"model": model})


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs done.
        scale: the loss scale (float16).
        growth: steps since the loss scale last changed.
        best: the best validation AP so far.
    """

    epoch: int = 0
    scale: float = 65536.0
    growth: int = 0
    best: float | None = None


def save_state(
    path: Path, detector: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write everything that resuming needs, in one file: weights, moments and progress."""
    names = {parameter: name for name, parameter in detector.named_parameters()}
    moments = {
        f"optimizer.{names[parameter]}.{key}": value
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
        if isinstance(parameter, nn.Parameter) and isinstance(value, Tensor)
    }
    weights = {f"weights.{name}": value for name, value in detector.state_dict().items()}
    metadata = {
        "sodkit": __version__,
        "optimizer": type(optimizer).__name__,
        "progress": json.dumps(asdict(progress)),
    }
    _save(path, weights | moments, metadata)


def load_state(path: Path, detector: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put weights and moments back as ``save_state`` found them.

    Raises:
        ModelError: the file is missing, not a training state, or of another recipe or optimiser.
    """
    tensors, metadata = _load(path)
    try:
        progress = Progress(**json.loads(metadata["progress"]))
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError("not a training state of sodkit", where=path) from error
    now = type(optimizer).__name__
    if metadata.get("optimizer", now) != now:
        raise ModelError(
            f"the run was trained with {metadata['optimizer']}, the recipe now says {now}",
            where=path,
            hint="resume without changing schedule.optimizer, or start another run",
        )
    _fill(detector, _part(tensors, "weights."), path)
    moments = _part(tensors, "optimizer.")
    for name, parameter in detector.named_parameters():
        found = _part(moments, f"{name}.")
        if found:
            optimizer.state[parameter] = {k: _beside(parameter, v) for k, v in found.items()}
    return progress


def _beside(parameter: Tensor, value: Tensor) -> Tensor:
    """Lay a moment out in memory like its parameter; step counts stay as they are."""
    return value if value.ndim == 0 else torch.empty_like(parameter).copy_(value)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _fill(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy tensors into a module; name the first that is missing, extra or of another shape."""
    want = module.state_dict()
    problems = [
        *(f"missing: {key}" for key in want if key not in tensors),
        *(f"unknown: {key}" for key in tensors if key not in want),
        *(
            f"{key} has shape {tuple(tensors[key].shape)}, expected {tuple(value.shape)}"
            for key, value in want.items()
            if key in tensors and tensors[key].shape != value.shape
        ),
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ModelError(f"the weights do not fit their recipe: {problems[0]}{more}", where=path)
    module.load_state_dict(tensors)


def _save(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(plain, temporary, metadata=metadata)
        except SafetensorError as error:  # it wraps the system's errors: a full disk, say
            raise SodkitError(
                f"cannot be written: {error}", where=path, hint="is there room on the disk?"
            ) from error


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata."""
    if not path.is_file():
        raise ModelError("checkpoint not found", where=path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"not a safetensors file: {error}",
            where=path,
            hint="weights of other projects come in by: sodkit import-weights FILE --out CKPT",
        ) from error
