"""From a recipe to the detector that is trained or loaded, ours or from outside."""

from __future__ import annotations

from importlib import import_module
from typing import cast

import torch
from torch import nn

from sodkit.errors import ModelError, UsageError
from sodkit.models import zoo
from sodkit.models.detector import Detector, DetectorModule
from sodkit.settings import Recipe
from sodkit.settings.detectors import Model
from sodkit.settings.keypoints import CornerNet
from sodkit.settings.outside import Outside
from sodkit.settings.yolox import Yolox


def new_detector(
    recipe: Recipe,
    classes: int,
    device: torch.device,
    *,
    given: nn.Module | None = None,
    pretrained: bool = True,
) -> DetectorModule:
    """Return a detector to train, made from the recipe's seed.

    Args:
        recipe: which detector; one that names a factory of the user's own has it imported.
        classes: number of classes.
        device: where the detector goes.
        given: a detector from outside; None: the recipe's is made.
        pretrained: load the backbone's weights; not where others follow.

    Raises:
        UsageError: the recipe's factory cannot be imported or called.
        ModelError: what is given, or made by the factory, is no detector.
    """
    torch.manual_seed(recipe.seed)
    if given is None and isinstance(recipe.model, Outside):
        given = _from_factory(recipe.model, classes)
    if given is not None:
        return as_detector(given).to(device)
    model = recipe.model if pretrained else without_weights(recipe.model)
    return zoo.build(model, classes).to(device)


def with_outside(recipe: Recipe, detector: nn.Module) -> Recipe:
    """Return the recipe with a detector from outside in place of its own."""
    if isinstance(recipe.model, Outside):
        return recipe
    return recipe.model_copy(update={"model": Outside(boxes=as_detector(detector).boxes)})


def as_detector(module: nn.Module) -> DetectorModule:
    """Return a module as the detector that it is.

    Raises:
        ModelError: it lacks a method or ``boxes``.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(f"a detector is an nn.Module, not a {type(module).__name__}")
    if not isinstance(module, Detector) or module.boxes not in ("horizontal", "oriented"):
        raise ModelError(
            "is no detector: it needs forward(batch, shuffle), detect(batch, keep) and boxes, "
            "'horizontal' or 'oriented'",
            where=type(module).__name__,
            hint="see sodkit.Detector",
        )
    return cast(DetectorModule, module)


def without_weights(model: Model) -> Model:
    """Return settings whose backbone starts from random weights: others follow."""
    if isinstance(model, Outside | Yolox | CornerNet):
        return model
    backbone = model.backbone.model_copy(update={"weights": None})
    return model.model_copy(update={"backbone": backbone})


def _from_factory(settings: Outside, classes: int) -> nn.Module:
    """Import and call the factory that a recipe names."""
    if settings.factory is None:
        raise UsageError(
            "the recipe's detector is from outside and names no factory",
            where="model.factory",
            hint="name it as module:function, or give the detector by the Python API",
        )
    module, _, name = settings.factory.partition(":")
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"cannot be imported: {error}",
            where=f"model.factory={settings.factory}",
            hint="the module must be on Python's path: PYTHONPATH=FOLDER",
        ) from error
    try:
        made = factory(classes, **settings.options)
    except TypeError as error:
        raise UsageError(
            f"cannot be called: {error}",
            where=f"model.factory={settings.factory}",
            hint="it takes the number of classes, and model.options as keywords",
        ) from error
    return as_detector(made)
