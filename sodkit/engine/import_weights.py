"""Weights of the authors' release (and of mmdetection's Faster R-CNN) as a checkpoint of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sodkit.config import load_recipe
from sodkit.data.records import Category
from sodkit.engine.checkpoint import save_checkpoint
from sodkit.errors import ModelError, UsageError
from sodkit.models import release, torch_file, zoo
from sodkit.settings import Recipe

SODA_D = (
    "people",
    "rider",
    "bicycle",
    "motor",
    "vehicle",
    "traffic-sign",
    "traffic-light",
    "traffic-camera",
    "warning-cone",
)
"""SODA-D's classes in the order of their category ids, 1 to 9."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported.

    Attributes:
        recipe: the recipe in the new checkpoint, with the backbone that was recognised.
        categories: the classes, with category ids from 1.
        assumed: the file names no classes, nine are taken to be SODA-D's.
        tensors: how many tensors the file's state dict holds.
        parameters: how many learnable numbers the detector has.
    """

    recipe: Recipe
    categories: tuple[Category, ...]
    assumed: bool
    tensors: int
    parameters: int


def import_weights(file: Path, out: Path, classes: Sequence[str] | None = None) -> Imported:
    """Turn a checkpoint that mmdetection saved into one of ours.

    CFINet as released, with one of its two parts or both, and Faster R-CNN with FPN, on ResNet 18
    to 152. Nothing in the file is run. The release keeps no exemplars in it: they start empty.

    Args:
        file: saved by ``torch.save``: a state dict, alone or under ``state_dict``.
        out: the ``.safetensors`` file to write.
        classes: class names in the model's order; None: those in the file.

    Raises:
        ModelError: the file cannot be read, or what it holds does not fit; the message names the
            keys that are missing, extra or of the wrong shape.
        UsageError: no class names, or not as many as the model has classes.
    """
    try:
        return _import(file, out, classes)
    except ModelError as error:
        raise ModelError(error.what, where=error.where or file, hint=error.hint) from error


def is_checkpoint(path: Path) -> bool:
    """Tell whether a file is a checkpoint that sodkit has written."""
    try:
        with safe_open(path, framework="pt") as file:
            return "sodkit" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _import(file: Path, out: Path, classes: Sequence[str] | None) -> Imported:
    content = torch_file.read(
        file, "the weights", "a checkpoint saved by mmdetection: of the CFINet release, say"
    )
    if not isinstance(content, Mapping):
        raise ModelError(f"holds no state_dict but a {type(content).__name__}")
    state, named = release.unwrap(content)
    found = release.recognise(state)
    categories, assumed = _categories(found.classes, classes, named)
    recipe = load_recipe(found.recipe, found.overrides)
    detector = zoo.build(recipe.model, found.classes)
    detector.load_state_dict(release.convert(state, detector))
    save_checkpoint(out, detector, recipe, categories)
    parameters = sum(p.numel() for p in detector.parameters())
    return Imported(recipe, categories, assumed, len(state), parameters)


def _categories(
    count: int, given: Sequence[str] | None, named: Sequence[str] | None
) -> tuple[tuple[Category, ...], bool]:
    """Return the classes, numbered from 1, and whether SODA-D's were assumed."""
    if given is not None and len(given) != count:
        raise UsageError(
            f"the model has {count} classes, {len(given)} are named", where="--classes"
        )
    assumed = given is None and named is None and count == len(SODA_D)
    names = given or named or (SODA_D if assumed else None)
    if names is None:
        raise UsageError(
            f"the file does not name its {count} classes",
            where="--classes",
            hint="give their names in the model's order: --classes car,bus,truck",
        )
    if len(names) != count:
        raise ModelError(f"the model has {count} classes, the file names {len(names)}")
    if len(set(names)) != count or not all(names):
        raise UsageError("class names must differ and not be empty", where="--classes")
    return tuple(Category(k, name) for k, name in enumerate(names, 1)), assumed
