"""Changes of JSON and YAML by their tree: types, keys, sizes, depth; and text of the odd corners.

What a tree cannot hold (a key twice, a number beyond all limits) is put in as a mark, and the mark
in the text is replaced.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Any

import yaml

from . import spoil_text
from .values import NUMBERS, STRINGS, any_value

Spot = tuple[Any, Any]
"""A container and a key or index into it."""

_MARK = "@mark@"
_MOST = 20_000
"""Places of a tree that is changed as one; a larger one is changed as bytes."""
_BOMB = "{a: &a [x,x,x,x,x,x,x,x,x], " + ", ".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
) + "}"  # fmt: skip
_JSON_TEXTS = (
    "NaN", "-Infinity", "1e400", "-1e400", "1" * 400, "0." + "1" * 400, "1e-400", '"\\ud800"',
    '"\\u0000"', '"\\x"', "[" * 500 + "]" * 500, "[" * 30_000 + "]" * 30_000, "[" * 30_000,
    '{"a":' * 2000 + "1" + "}" * 2000, "01", "+1", ".5", "1.", "'a'", "/**/1", "tru", "nul", "",
)  # fmt: skip
_YAML_TEXTS = (
    ".nan", ".inf", "-.inf", "2020-99-99", "2020-01-01", "2020-01-01 25:61:61", "0x_", "0b", "0o9",
    "09", "1:99999999999", "1_000", "_", "=", "<<", "~", "!!python/name:os.system",
    "!!python/object/apply:os.getcwd []", "!!timestamp x", "!!binary '%%'", "!!int abc", "!!int ''",
    "!!float x", "!!bool x", "!!null x", "!!set {a, b}", "!!omap [a]", "!!pairs [a]", "!!seq {}",
    "&a [*a]", "&b {b: *b}", "*none", "!x y", "{<<: 3}", "{<<: [1]}", "{? [a] : b}", "{? {} : b}",
    "9" * 5000, "0x" + "f" * 5000, "1e400", "[" * 300 + "]" * 300, "[" * 3000, _BOMB, "@a", "`a",
    "'a", '"\\ud800"', '"\\UFFFFFFFF"', "|", ">", "%", "- -", "\t", "é", "1e5", "on", "No",
)  # fmt: skip
_YAML_HEADS = (
    "%YAML 9.9\n---\n", "%TAG ! x\n---\n", "---\na: 1\n---\n", "\ufeff", "\t", "...\n", "? ", "- ",
    "<<: *x\n", "&a ", "!!set ", "!!str ",
)  # fmt: skip


def json_text(random: Random, data: bytes, other: bytes) -> bytes:
    """Return JSON with one or some changes of its tree."""
    tree, marks = _changed(random, json.loads(data), _JSON_TEXTS)
    text = json.dumps(tree, ensure_ascii=random.random() < 0.5)
    return _unmarked(text, marks)


def yaml_text(random: Random, data: bytes, other: bytes) -> bytes:
    """Return YAML with one or some changes of its tree, in flow or block style."""
    tree, marks = _changed(random, yaml.load(data, yaml.CSafeLoader), _YAML_TEXTS)
    if random.random() < 0.5:
        text = json.dumps(tree, ensure_ascii=False)
    else:
        text = yaml.dump(tree, Dumper=yaml.CSafeDumper, allow_unicode=True, width=10**6)
    if random.random() < 0.1:
        text = random.choice(_YAML_HEADS) + text
    return _unmarked(text, marks)


def override(random: Random, data: bytes, other: bytes) -> bytes:
    """Return a line KEY=VALUE with another key or value."""
    key, _, value = data.decode().partition("=")
    if random.random() < 0.4:
        value = random.choice((*_YAML_TEXTS, json.dumps(any_value(random))))
    elif random.random() < 0.5:
        parts = key.split(".")
        parts[random.randrange(len(parts))] = random.choice((*STRINGS, "model", "roi", "lr"))
        key = ".".join(parts)
    else:
        return spoil_text.lines(random, data, other)
    return f"{key}={value}".encode("utf-8", "surrogatepass")


def _changed(random: Random, tree: Any, texts: tuple[str, ...]) -> tuple[Any, dict[str, str]]:
    root = [copy.deepcopy(tree)]
    marks: dict[str, str] = {}
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        spots = list(islice(_spots(root), _MOST + 1))
        if len(spots) > _MOST:  # aliases unroll to more than can be counted
            raise ValueError("too large a tree")
        holder, key = random.choice(spots)
        if random.random() < 0.25:
            mark = f"{_MARK}{len(marks)}@"
            marks[f'"{mark}"'] = random.choice(texts)
            marks[f"'{mark}'"] = marks[mark] = marks[f'"{mark}"']
            holder[key] = mark
        else:
            change = random.choice(_CHANGES)
            change(random, holder, key, spots, marks)
    return root[0] if root else None, marks


def _unmarked(text: str, marks: dict[str, str]) -> bytes:
    for mark, own in marks.items():
        text = text.replace(mark, own)
    return text.encode("utf-8", "surrogatepass")


def _spots(holder: Any) -> Iterator[Spot]:
    """Yield all places in a tree."""
    keys = list(holder) if isinstance(holder, dict) else range(len(holder))
    for key in keys:
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _spots(holder[key])


def _replace(random: Random, holder: Any, key: Any, spots: list[Spot], marks: object) -> None:
    holder[key] = any_value(random)


def _remove(random: Random, holder: Any, key: Any, spots: list[Spot], marks: object) -> None:
    del holder[key]


def _repeat(random: Random, holder: Any, key: Any, spots: list[Spot], marks: object) -> None:
    if isinstance(holder, list):
        count = random.choice((1, 1, 2, 300))
        holder[key:key] = [copy.deepcopy(holder[key]) for _ in range(count)]
    else:
        holder[random.choice(STRINGS)] = copy.deepcopy(holder[key])


def _swap(random: Random, holder: Any, key: Any, spots: list[Spot], marks: object) -> None:
    """Put a copy of another node here."""
    other, place = random.choice(spots)
    holder[key] = copy.deepcopy(other[place])


def _rename(random: Random, holder: Any, key: Any, spots: list[Spot], marks: object) -> None:
    if isinstance(holder, dict):
        names = [place for other, place in spots if isinstance(other, dict)]
        new = random.choice((str(key).upper(), f"{key}s", random.choice(names), any_value(random)))
        holder[new if isinstance(new, str | int) else str(new)] = holder.pop(key)


def _twice(random: Random, holder: Any, key: Any, spots: list[Spot], marks: dict[str, str]) -> None:
    """Give a mapping the same key twice."""
    if isinstance(holder, dict):
        mark = f"{_MARK}k{len(marks)}@"
        marks[mark] = str(key)
        holder[mark] = random.choice((holder[key], any_value(random)))


def _wrap(random: Random, holder: Any, key: Any, spots: list[Spot], marks: object) -> None:
    for _ in range(random.choice((1, 1, 2, 60))):
        holder[key] = [holder[key]] if random.random() < 0.5 else {str(key): holder[key]}


def _retype(random: Random, holder: Any, key: Any, spots: list[Spot], marks: object) -> None:
    """Keep the value, change its type."""
    value = holder[key]
    if isinstance(value, dict):
        holder[key] = list(value.values())
    elif isinstance(value, list):
        holder[key] = {str(index): item for index, item in enumerate(value)}
    elif isinstance(value, str):
        holder[key] = random.choice((value.upper(), list(value), len(value), f" {value}"))
    else:
        holder[key] = random.choice((str(value), bool(value), [value]))


def _scale(random: Random, holder: Any, key: Any, spots: list[Spot], marks: object) -> None:
    """Change a number a little or much."""
    numbers = [
        (other, place)
        for other, place in spots
        if isinstance(other[place], int | float) and not isinstance(other[place], bool)
    ]
    if numbers:
        other, place = random.choice(numbers)
        value = other[place]
        near = (value + 1, value - 1, -value, value * 1000, value + 0.5, random.choice(NUMBERS))
        other[place] = random.choice(near)


_CHANGES = (
    _replace, _replace, _remove, _repeat, _swap, _rename, _twice, _wrap, _retype,
    _scale, _scale, _scale, _scale,
)  # fmt: skip
