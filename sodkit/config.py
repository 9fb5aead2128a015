"""Recipes in and out of YAML, and ``--set a.b=c`` on them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sodkit.errors import UsageError
from sodkit.settings import Recipe
from sodkit.yaml_text import YamlError, format_yaml, parse_yaml, read_yaml

_FAULTS = 5
"""So many faults of a recipe are listed."""

_LONGEST = 60
"""Characters that a message shows of a text."""


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
    content, where = _content(name_or_path)
    if not isinstance(content, dict):
        raise UsageError("a recipe is a YAML mapping", where=where)
    data = _merge(_defaults(), content)
    for override in overrides:
        _apply(data, override)
    return recipe_from_dict(data, where)


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


def _defaults() -> dict[str, Any]:
    """Return the default recipe as plain data, without a name."""
    return Recipe(name="").model_dump(mode="json", exclude={"name"})


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay ``over`` on ``base``, mapping by mapping: a recipe names only what departs."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _apply(data: dict[str, Any], override: str) -> None:
    """Set one ``a.b=value`` in place."""
    path, equals, text = override.partition("=")
    where = f"--set {_short(override)}"
    if not equals or not path:
        raise UsageError("expected KEY=VALUE", where=where, hint="--set schedule.epochs=6")
    try:
        value = parse_yaml(text)
    except YamlError as error:
        raise UsageError(
            f"the value is not valid YAML: {error}", where=where, hint=error.hint
        ) from error
    node = data
    *parents, last = path.split(".")
    for key in parents:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            raise UsageError(f"'{_short(key)}' has no keys", where=where)
    node[last] = value


def _explain(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "not a recipe: nested too deeply"
    if not isinstance(error, ValidationError):
        return f"not a recipe: {error}"
    lines = []
    faults = error.errors(include_url=False)
    for item in faults[:_FAULTS]:
        key = ".".join(_short(str(part)) for part in item["loc"])
        if not item["loc"]:  # parts that make no detector together
            lines.append(item["msg"].removeprefix("Value error, "))
            continue
        message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
        close = get_close_matches(str(item["loc"][-1]), _known_keys(item["loc"][:-1]), n=1)
        known = f" (did you mean {close[0]}?)" if message == "unknown key" and close else ""
        lines.append(f"{key}: {message}{known}")
    more = len(faults) - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more else "")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _known_keys(path: tuple[int | str, ...]) -> list[str]:
    """Return the keys a recipe knows at ``path``."""
    node: Any = Recipe
    for part in path:
        fields = getattr(node, "model_fields", {})
        node = fields[part].annotation if part in fields else None
    return list(getattr(node, "model_fields", {}))
