"""The page of recipe keys, from the descriptions, types and defaults of the settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from command_pages import HEAD, table

from sodkit.explained import allowed, meaning
from sodkit.settings import Recipe
from sodkit.settings.base import Settings

Places = dict[type[Settings], list[str]]
"""Where settings may stand, as Markdown, in the order in which the places are met."""


def key_page() -> str:
    """Return the text of the page."""
    places: Places = {}
    _collect(Recipe, "", "", places)
    first = sorted(places, key=lambda kind: places[kind][0].startswith("`model"))
    return "\n".join([_TOP, *(_section(kind, places[kind]) for kind in first)])


_TOP = f"""{HEAD}# Recipe keys

Every key that a recipe may have, in its YAML or by `--set KEY=VALUE`. A key is written with all
that stands above it: `schedule.lr`, `model.backbone.name`. `kind` says which of several settings a
part has, and each kind has its own keys. A default here is that of the part by itself: at some
places, and in the built-in recipes, it is another. All values of a recipe, with the same
explanations:

```
sodkit recipes cfinet-r50-soda-d --explain
```
"""


def _collect(kind: type[Settings], path: str, owner: str, places: Places) -> None:
    """Add the place of ``kind``, and if it is the first one those of all settings in it."""
    own = kind.model_fields["kind"].default if "kind" in kind.model_fields else None
    place = f"`{path}`" if path else "The recipe itself"
    known = places.setdefault(kind, [])
    known.append(f"{place} of kind `{own}`" if own else f"{place} of `{owner}`" if owner else place)
    if len(known) > 1:
        return
    for name, field in kind.model_fields.items():
        for below in _settings_in(field.annotation):
            _collect(below, f"{path}.{name}".lstrip("."), own or owner, places)


def _settings_in(kind: Any) -> Iterator[type[Settings]]:
    """Yield the settings that a type names, at any depth."""
    if isinstance(kind, type) and issubclass(kind, Settings):
        yield kind
    for part in get_args(kind):
        yield from _settings_in(part)


def _section(kind: type[Settings], where: list[str]) -> str:
    said = " ".join((kind.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")
    also = f" Also {_listed(where)}." if len(set(where)) > 1 else ""
    rows = _rows(kind, kind.model_json_schema())
    return (
        f"## {where[0]}\n\n{said}{also}\n\n{table(('key', 'default', 'may be', 'meaning'), rows)}"
    )


def _listed(where: list[str]) -> str:
    """Return all places but the first, each path once."""
    owners: dict[str, list[str]] = {}
    for place in dict.fromkeys(where[1:]):
        path, _, owner = place.partition(" of ")
        owners.setdefault(path, []).append(owner)
    return ", ".join(
        f"{path} of {', '.join(own)}" if all(own) else path for path, own in owners.items()
    )


def _rows(kind: type[Settings], schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, field in kind.model_fields.items():
        below = list(_settings_in(field.annotation))
        may_be = allowed(schema["properties"][name], schema.get("$defs", {}))
        yield (
            f"`{name}`",
            _default(kind, name),
            "" if below or not may_be else f"`{may_be}`",
            meaning(kind, name) or (_sentence(below) if below else ""),
        )


def _default(kind: type[Settings], name: str) -> str:
    field = kind.model_fields[name]
    if field.is_required():
        return "required"
    if isinstance(field.default, Settings):
        fixed = getattr(field.default, "kind", None)
        return f"kind `{fixed}`" if fixed else "its own"
    return f"`{json.dumps(field.default)}`"


def _sentence(below: list[type[Settings]]) -> str:
    if len(below) > 1:
        return "one of the kinds below"
    return (below[0].__doc__ or "").split("\n")[0].removesuffix(".")
