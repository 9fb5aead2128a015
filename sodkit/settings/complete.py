"""Defaults under what a recipe names, and errors in the words of its keys.

Of settings that are alternatives, ``kind`` names one: defaults of another kind are not mixed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sodkit.settings.base import Settings
from sodkit.settings.recipe import Recipe

Data = dict[str, Any]

_FAULTS = 5
"""So many faults of a recipe are listed."""

_LONGEST = 60
"""Characters that a message shows of a text."""

_ALTERNATIVE = re.compile(r"constrained-\w+|literal\[.*\]|float|int|str|bool|none")
"""What pydantic puts behind the key of a value that may be of several types: the type it tried."""


def complete(data: Data, settings: type[Settings] = Recipe) -> Data:
    """Return ``data`` with the default of every value that it leaves out.

    Args:
        data: plain data of ``settings``, as YAML has it. What does not fit is left as it is: the
            validation that follows names it.
        settings: the class that the data are of.
    """
    result = dict(data)
    for name, field in settings.model_fields.items():
        result[name] = _completed(data, name, field)
        if result[name] is _REQUIRED:
            del result[name]
    return result


_REQUIRED = object()


def _completed(data: Data, name: str, field: FieldInfo) -> Any:
    """Return the value of one field."""
    default = None if field.is_required() else field.default
    plain = default.model_dump(mode="json") if isinstance(default, Settings) else default
    if name not in data:
        return _REQUIRED if field.is_required() else _as_json(plain)
    value = data[name]
    if not isinstance(value, dict):
        return value
    kind = value.get("kind", getattr(default, "kind", None))
    members = list(_members(field.annotation))
    chosen = next((m for m in members if kind_of(m) == kind), None)
    if chosen is None:
        return value
    return complete(_over(plain or {}, value) if type(default) is chosen else value, chosen)


def _over(base: Data, changes: Data) -> Data:
    """Lay ``changes`` on ``base``, mapping by mapping; another kind starts from nothing."""
    if changes.get("kind", base.get("kind")) != base.get("kind"):
        return changes
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _over(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def kind_of(settings: type[Settings]) -> str | None:
    """Return the ``kind`` of these settings, None if they have no alternatives."""
    field = settings.model_fields.get("kind")
    return None if field is None else str(field.default)


def _members(annotation: object) -> Iterator[type[Settings]]:
    """Yield the classes of settings in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for part in get_args(annotation):
        yield from _members(part)


def set_value(data: Data, path: str, value: Any) -> None:
    """Set ``a.b`` in plain data of a recipe, in place.

    Another ``kind`` keeps the values that the recipe names and the new kind has, too.

    Args:
        data: what the recipe names, without defaults.
        path: keys, joined by dots.
        value: plain data.

    Raises:
        KeyError: with the key on the way that has no keys of its own.
    """
    *parents, last = path.split(".")
    node = data
    for key in parents:
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
        if not isinstance(node, dict):
            raise KeyError(key)
    if last == "kind":
        for key in set(node) - _known(data, parents, value):
            del node[key]
    node[last] = value


def _known(data: Data, parents: list[str], kind: Any) -> set[str]:
    """Return the keys that settings of ``kind`` have at a place; all there are if it is none."""
    full = complete(data)
    members: list[type[Settings]] = [Recipe]
    for key in parents:
        node = next((m for m in members if kind_of(m) == full.get("kind")), None)
        if node is None or key not in node.model_fields:
            return set(full)
        members = list(_members(node.model_fields[key].annotation))
        full = full[key] if isinstance(full.get(key), dict) else {}
    chosen = next((m for m in members if kind_of(m) == kind), None)
    return set(full) if chosen is None else set(chosen.model_fields)


def explain(error: ValidationError) -> str:
    """Return which keys of a recipe are wrong, and how; for unknown ones the closest known key."""
    faults: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for item in error.errors(include_url=False):
        path, _ = _walk(item["loc"])
        faults.setdefault(tuple(path), []).append(item)
    lines = [_line(items) for items in list(faults.values())[:_FAULTS]]
    more = len(faults) - len(lines)
    return "; ".join(lines) + (f"; and {more} more" if more else "")


def shortened(text: str) -> str:
    """Return a text as a message shows it."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _line(items: list[ErrorDetails]) -> str:
    """Return one key's faults: of a value of alternative types each type has its own."""
    key, what = _fault(items[0])
    return ", or ".join([f"{key}: {what}", *map(_text, items[1:])])


def _fault(item: ErrorDetails) -> tuple[str, str]:
    """Return a key, and what is wrong with its value."""
    path, node = _walk(item["loc"])
    key = ".".join(map(shortened, path))
    if item["type"] == "extra_forbidden":
        known = list(node.model_fields) if node else []
        close = get_close_matches(path[-1], known, n=1)
        of = f" of {kind}" if node and (kind := kind_of(node)) else ""
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        return key, f"unknown key{of} ({hint})"
    if item["type"] == "union_tag_invalid":
        context = item["ctx"]
        return f"{key}.kind", f"{context['tag']!r} is none of {context['expected_tags']}"
    return key, _text(item)


def _text(item: ErrorDetails) -> str:
    """Return what pydantic says, of our own validators without its prefix."""
    return item["msg"].removeprefix("Value error, ")


def _walk(loc: tuple[int | str, ...]) -> tuple[list[str], type[Settings] | None]:
    """Return the keys of a place, and the settings around it.

    Pydantic's names of the kinds of a union, and of a value's alternative types, are left out.
    """
    path: list[str] = []
    node: type[Settings] | None = Recipe
    members: list[type[Settings]] = []
    around: type[Settings] | None = Recipe
    for part in map(str, loc):
        if chosen := next((m for m in members if kind_of(m) == part), None):
            node, members = chosen, []
            continue
        if _ALTERNATIVE.fullmatch(part):
            continue
        path.append(part)
        around = node
        fields = {} if node is None else node.model_fields
        members = list(_members(fields[part].annotation)) if part in fields else []
        node = members[0] if len(members) == 1 else None
    return path, around
