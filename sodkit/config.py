"""Recipes in and out of YAML, and ``--set a.b=c`` on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sodkit.errors import UsageError
from sodkit.settings import Recipe
from sodkit.settings.base import BoxKind
from sodkit.settings.complete import complete, explain, set_value, shortened
from sodkit.yaml_text import YamlError, format_yaml, parse_yaml, read_yaml

DEFAULT_RECIPES: Mapping[BoxKind, str] = {
    "horizontal": "cfinet-r50-soda-d",
    "oriented": "cfinet-r50-soda-a",
}
"""The recipe for each kind of box unless one is named: CFINet."""


def builtin_names() -> list[str]:
    """Return the names of the built-in recipes, sorted."""
    folder = resources.files("sodkit") / "recipes"
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def load_recipe(name_or_path: str, overrides: Iterable[str] = ()) -> Recipe:
    """Load a built-in recipe or a YAML file, and set values in it.

    Args:
        name_or_path: a built-in name (see ``builtin_names``) or the path of a YAML file.
        overrides: ``a.b=value`` strings; values are YAML (``1``, ``null``, ``[8, 11]``).

    Raises:
        UsageError: unknown name, unreadable file, unknown key or value of the wrong type; the
            message names the key and the closest known one.
    """
    data, where = _content(name_or_path)
    if not isinstance(data, dict):
        raise UsageError("a recipe is a YAML mapping", where=where)
    for override in overrides:
        _apply(data, override)
    return recipe_from_dict(complete(data), where)


def recipe_from_dict(data: dict[str, Any], where: str) -> Recipe:
    """Validate a recipe given as plain data; ``where`` names its origin in errors."""
    try:
        return Recipe.model_validate_json(json.dumps(data))
    except (ValidationError, TypeError, ValueError, RecursionError) as error:
        raise UsageError(_explain(error), where=where, hint="see: sodkit recipes NAME") from error


def dump_recipe(recipe: Recipe) -> str:
    """Return the recipe as YAML with every value, defaults included."""
    return format_yaml(recipe.model_dump(mode="json"), as_ascii=True)


def _content(name_or_path: str) -> tuple[Any, str]:
    """Return what a recipe's YAML says, and the recipe's name for messages."""
    if name_or_path in builtin_names():
        text = (resources.files("sodkit") / "recipes" / f"{name_or_path}.yaml").read_text("utf-8")
        return parse_yaml(text), f"recipe {name_or_path}"
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        close = get_close_matches(name_or_path, builtin_names(), n=1)
        hint = f"did you mean {close[0]}?" if close else "sodkit recipes lists the built-in ones"
        raise UsageError(f"no recipe named '{name_or_path}'", hint=hint)
    try:
        return read_yaml(path), str(path)
    except YamlError as error:
        raise UsageError(
            f"not valid YAML: {error}", where=f"{path}:{error.line}", hint=error.hint
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(f"recipe cannot be read: {error}", where=path) from error


def _apply(data: dict[str, Any], override: str) -> None:
    """Set one ``a.b=value`` in place."""
    path, equals, text = override.partition("=")
    where = f"--set {shortened(override)}"
    if not equals or not path:
        raise UsageError("expected KEY=VALUE", where=where, hint="--set schedule.epochs=6")
    try:
        value = parse_yaml(text)
    except YamlError as error:
        raise UsageError(
            f"the value is not valid YAML: {error}", where=where, hint=error.hint
        ) from error
    try:
        set_value(data, path, value)
    except KeyError as error:
        raise UsageError(f"'{shortened(error.args[0])}' has no keys", where=where) from error


def _explain(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "not a recipe: nested too deeply"
    if isinstance(error, ValidationError):
        return explain(error)
    return f"not a recipe: {error}"
