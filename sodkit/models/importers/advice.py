"""What would make a checkpoint fit whose shapes are not those of the recipe."""

from __future__ import annotations

from typing import Any

from sodkit.models.importers.mmdet import Recognised
from sodkit.settings import Recipe
from sodkit.settings.anchor_levels import Anchored
from sodkit.yaml_text import parse_yaml


def advice(found: Recognised, recipe: Recipe) -> str:
    """Return a hint for the case that weights do not fit: the settings that their shapes show.

    Args:
        found: what names and shapes show.
        recipe: that the detector was built from.
    """
    wanted = [f"--set {setting}" for setting in differing(found, recipe)]
    if wanted:
        return f"names and shapes show: {' '.join(wanted)}"
    if found.anchors is not None and isinstance(recipe.model, Anchored):
        own = len(recipe.model.anchor_levels()[0].sizes)
        if own != found.anchors.count:
            return (
                f"it has {found.anchors.count} anchors a location, {recipe.name} has {own}: "
                f"give {found.anchors.settings}"
            )
    return (
        f"no setting of {recipe.name} is known to fit: is the checkpoint complete, and of this "
        "variant? --recipe names another detector"
    )


def differing(found: Recognised, recipe: Recipe) -> list[str]:
    """Return the settings ``a.b=value`` of what was recognised that a recipe has otherwise."""
    data = {"model": recipe.model.model_dump(mode="json")}
    return [setting for setting in found.overrides if not _has(data, setting)]


def _has(data: dict[str, Any], setting: str) -> bool:
    """Return whether ``a.b=value`` is so in plain data of a recipe."""
    path, _, text = setting.partition("=")
    value: Any = data
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return _within(parse_yaml(text), value)


def _within(wanted: Any, value: Any) -> bool:
    """Return whether all that is wanted is so in a value."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        return all(key in value and _within(item, value[key]) for key, item in wanted.items())
    return bool(wanted == value)
