"""Weights to begin with: those of a checkpoint that fit, its classes may be others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from sodkit.data.naming import listed
from sodkit.data.records import Category
from sodkit.engine.build import without_weights
from sodkit.engine.checkpoint import read_checkpoint
from sodkit.errors import ModelError
from sodkit.models.zoo import build
from sodkit.settings import Recipe
from sodkit.settings.outside import Outside

_SHOWN = 12
"""Names of tensors that a message lists."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a detector was given.

    Attributes:
        taken: names of its tensors that the checkpoint's replaced.
        left: names of tensors that were not taken, by the reason.
    """

    taken: tuple[str, ...]
    left: Mapping[str, tuple[str, ...]]

    def sentences(self, path: Path) -> list[str]:
        """Return it in sentences for people."""
        total = len(self.taken) + sum(len(names) for names in self.left.values())
        first = f"{len(self.taken)} of {total} tensors are taken from {path}"
        rest = (
            f"not taken, {reason}: {listed(names, _SHOWN)}" for reason, names in self.left.items()
        )
        return [first, *rest]


def take_weights(
    path: Path, detector: nn.Module, recipe: Recipe, categories: tuple[Category, ...]
) -> Taken:
    """Copy the tensors of a checkpoint into a detector where name, shape and type are the same.

    Unless the checkpoint's classes have the same names in the same order, tensors whose shape
    follows from the number of classes are left out, whatever their shape.

    Args:
        path: the checkpoint.
        detector: is changed.
        recipe: that it was made by.
        categories: its classes.

    Raises:
        ModelError: no checkpoint of ours, or nothing in it fits.
    """
    tensors, info = read_checkpoint(path)
    same = [name for _, name in info.categories] == [one.name for one in categories]
    of_classes = set() if same else _of_classes(recipe, len(categories))
    mine = detector.state_dict()
    taken: list[str] = []
    left: dict[str, list[str]] = {}
    for name in [*mine, *(name for name in tensors if name not in mine)]:
        reason = _reason(name, mine, tensors, of_classes)
        if reason is None:
            taken.append(name)
        else:
            left.setdefault(reason, []).append(name)
    if not taken:
        raise ModelError(
            f"none of its {len(tensors)} tensors fits the recipe {recipe.name}",
            where=path,
            hint=f"it holds a detector of kind {info.recipe.model.kind}",
        )
    detector.load_state_dict({name: tensors[name] for name in taken}, strict=False)
    return Taken(tuple(taken), {reason: tuple(names) for reason, names in left.items()})


def _reason(
    name: str, mine: Mapping[str, Tensor], tensors: Mapping[str, Tensor], of_classes: set[str]
) -> str | None:
    """Return why a tensor is not taken; None: it is."""
    if name not in tensors:
        return "not in the checkpoint"
    if name not in mine:
        return "unknown to the recipe"
    if name in of_classes:
        return "of other classes"
    if mine[name].shape != tensors[name].shape:
        return "of another shape"
    return None if mine[name].dtype == tensors[name].dtype else "of another type"


def _of_classes(recipe: Recipe, classes: int) -> set[str]:
    """Return the names of the tensors whose shape depends on the number of classes.

    Of a detector from outside none are known: there only the shapes are compared.
    """
    if isinstance(recipe.model, Outside):
        return set()
    plain = without_weights(recipe.model)
    with torch.device("meta"):
        one, other = (build(plain, count).state_dict() for count in (classes, classes + 1))
    return {name for name, value in one.items() if value.shape != other[name].shape}
