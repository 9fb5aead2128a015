"""Single values of a recipe by their keys with dots, and where detectors keep their anchors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sodkit.config import recipe_from_dict
from sodkit.settings import Recipe
from sodkit.settings.complete import set_value
from sodkit.settings.proposers import Threshold

ANCHOR_KEYS = (
    "model.anchor_scale",
    "model.crpn.anchor_scale",
    "model.proposals.anchor_scale",
    "model.proposals.scale",
    "model.rpn.anchor_scale",
)
THRESHOLD_KEYS = ("model.crpn.assignment", "model.proposals.assignment")


def anchor_key(recipe: Recipe) -> str | None:
    """Return the key of the anchors' side in strides, None if the detector has no such setting."""
    return next((key for key in ANCHOR_KEYS if value_of(recipe, key) is not None), None)


def threshold_key(recipe: Recipe) -> str | None:
    """Return the key of the dynamic threshold, None if the detector has none."""
    found = (key for key in THRESHOLD_KEYS if isinstance(value_of(recipe, key), Threshold))
    return next(found, None)


def value_of(recipe: Recipe, key: str) -> Any:
    """Return the value of a key, None if there is no such key."""
    value: Any = recipe
    for name in key.split("."):
        value = getattr(value, name, None)
    return value


def with_values(recipe: Recipe, values: Mapping[str, float]) -> Recipe:
    """Return a recipe with other values, by key.

    Raises:
        UsageError: unknown key or value of the wrong type.
    """
    data = recipe.model_dump(mode="json")
    for key, value in values.items():
        set_value(data, key, value)
    return recipe_from_dict(data, f"recipe {recipe.name}")
