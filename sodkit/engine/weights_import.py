"""Weights of other projects as a checkpoint of ours: the CFINet release, mmdetection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sodkit.config import load_recipe
from sodkit.data.formats.reading import is_ignore
from sodkit.data.formats.soda_a import CLASSES as SODA_A_CLASSES
from sodkit.data.records import BoxKind, Category
from sodkit.engine.build import without_weights
from sodkit.engine.checkpoint import save_checkpoint
from sodkit.errors import ModelError, UsageError
from sodkit.files import StrPath
from sodkit.models import zoo
from sodkit.models.importers import angles, families, mmdet, torch_file
from sodkit.models.importers.advice import advice, differing
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

SODA_A = tuple(name for name in SODA_A_CLASSES if not is_ignore(name))
"""SODA-A's, in the order of their category ids, 0 to 8."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was imported.

    Attributes:
        recipe: the recipe in the new checkpoint, with the backbone that was recognised.
        categories: the classes, with category ids from 1, of SODA-A from 0.
        assumed: the file names no classes: the data set whose nine are taken, SODA-D or, of an
            oriented detector, SODA-A; else None.
        tensors: how many tensors the file's state dict holds.
        parameters: how many learnable numbers the detector has.
        sizes: settings that the shapes showed, by their keys.
        also: other recipes whose weights have the same names and shapes, unless one was given.
        other: settings that the weights' own program has and the given recipe has otherwise.
    """

    recipe: Recipe
    categories: tuple[Category, ...]
    assumed: str | None
    tensors: int
    parameters: int
    sizes: tuple[tuple[str, str], ...] = ()
    also: tuple[str, ...] = ()
    other: tuple[str, ...] = ()


def import_weights(
    file: StrPath,
    out: StrPath,
    classes: Sequence[str] | None = None,
    recipe: str | None = None,
    overrides: Sequence[str] = (),
) -> Imported:
    """Turn a checkpoint that mmdetection saved into one of ours.

    CFINet as released, with one of its two parts or both, Faster R-CNN, also with the proposals of
    RFLA and GA-RPN, RetinaNet, FCOS, ATSS, DyHead, RepPoints, CenterNet, Sparse R-CNN and
    Deformable DETR, on ResNet 18 to 152, CornerNet and YOLOX: family and sizes follow from names
    and shapes. Nothing in the file is run. The release keeps no exemplars in it: they start empty.

    Args:
        file: saved by ``torch.save``: a state dict, alone or under ``state_dict``.
        out: the ``.safetensors`` file to write.
        classes: class names in the model's order; None: those in the file.
        recipe: a built-in recipe or a YAML file that the detector was trained by, where its
            names do not show it; None: the one that they show.
        overrides: ``a.b=value`` settings on the recipe.

    Raises:
        ModelError: the file cannot be read, or what it holds does not fit; the message names the
            keys that are missing, extra or of the wrong shape, and the settings that would fit.
        UsageError: no class names, or not as many as the model has classes.
    """
    file = Path(file)
    out = Path(out)
    try:
        return _import(file, out, classes, recipe, overrides)
    except ModelError as error:
        raise ModelError(error.what, where=error.where or file, hint=error.hint) from error


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint that sodkit has written."""
    try:
        with safe_open(path, framework="pt") as file:
            return "sodkit" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _import(
    file: Path,
    out: Path,
    classes: Sequence[str] | None,
    recipe_name: str | None,
    overrides: Sequence[str],
) -> Imported:
    content = torch_file.read(
        file, "the weights", "a checkpoint saved by mmdetection, such as the CFINet release"
    )
    if not isinstance(content, Mapping):
        raise ModelError(f"holds no state_dict but a {type(content).__name__}")
    state, named = mmdet.unwrap(content)
    found = angles.heeded(families.recognise(state), content.get("meta"))
    recipe = _recipe(found, recipe_name, overrides)
    categories, assumed = _categories(found.classes, classes, named, recipe.boxes)
    detector = zoo.build(recipe.model, found.classes)
    hint = advice(found, recipe)
    converted = mmdet.convert(
        state, detector, found.table, found.joins, hint, unused=found.unused, bgr=found.bgr
    )
    detector.load_state_dict(converted)
    save_checkpoint(out, detector, recipe, categories)
    parameters = sum(p.numel() for p in detector.parameters())
    also = found.also if recipe_name is None else ()
    chosen = {setting.partition("=")[0] for setting in overrides}
    other = tuple(x for x in differing(found, recipe) if x.partition("=")[0] not in chosen)
    return Imported(recipe, categories, assumed, len(state), parameters, _sizes(found), also, other)


def _sizes(found: mmdet.Recognised) -> tuple[tuple[str, str], ...]:
    pairs = (setting.removeprefix("model.").partition("=") for setting in found.overrides)
    return tuple((key, value) for key, _, value in pairs if key != "backbone.weights")


def _recipe(found: mmdet.Recognised, name: str | None, overrides: Sequence[str]) -> Recipe:
    """Return the recipe of what was recognised; ``name`` decides what the weights do not show.

    Raises:
        UsageError: the recipe is of another kind of detector.
    """
    if name is None:
        return load_recipe(found.recipe, (*found.overrides, *overrides))
    recipe = load_recipe(name, overrides)
    if name in found.also and recipe.model.kind != found.kind:
        recipe = load_recipe(name, (*found.overrides, *overrides))
    elif recipe.model.kind != found.kind:
        raise UsageError(
            f"the weights are of {found.kind}, the recipe is of {recipe.model.kind}",
            where=f"--recipe {name}", hint=f"leave it away, or give one of {found.kind}",
        )  # fmt: skip
    return recipe.model_copy(update={"model": without_weights(recipe.model)})


def _categories(
    count: int, given: Sequence[str] | None, named: Sequence[str] | None, boxes: BoxKind
) -> tuple[tuple[Category, ...], str | None]:
    """Return the classes, SODA-A's from 0, others from 1, and the data set that was assumed."""
    if given is not None and len(given) != count:
        raise UsageError(
            f"the model has {count} classes, {len(given)} are named", where="--classes"
        )
    data, known = ("SODA-A", SODA_A) if boxes == "oriented" else ("SODA-D", SODA_D)
    assumed = data if given is None and named is None and count == len(known) else None
    names = given or named or (known if assumed else None)
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
    first = 0 if tuple(names) == SODA_A else 1
    return tuple(Category(k, name) for k, name in enumerate(names, first)), assumed
