"""YAML in and out: plain data only, and bounded in size, depth and number of values.

The one reader of YAML: recipes, ``--set`` and data files go through it. It departs from YAML 1.1
where that surprises people: ``1e-3`` is a number, and a key that occurs twice is an error. Only
texts, numbers, booleans, null, lists and mappings are made: tags of anything else, and dates, are
errors. An alias counts as often as it is used, for that is what it costs to write the data out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1_000_000
"""Of a text; one with the names of ImageNet-21k's 21 841 classes has 0.6 MB."""

MOST_VALUES = 50_000
"""Keys count too: a mapping of those names by number has 43 683."""

MOST_LEVELS = 50
"""A recipe has five."""

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_FLOAT = re.compile(
    r"[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=[eE]))([eE][-+]?\d+)?"
    r"|[-+]?\d[\d_]*(:[0-5]?\d)+\.[\d_]*|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    re.ASCII,
)
"""YAML 1.1's forms of a float, also without a point or the sign of the exponent."""


_QUOTES = "put the text in single quotes"
_PROBLEMS = (
    (r"mapping values are not allowed", "a second ': ' in a line, or a line without 'key: '",
     "put a text with a colon in quotes"),
    (r"character '\\t'", "a tab, where YAML has spaces", "indent by spaces"),
    (r"character '(.)' that cannot start", "a text that begins with {0}", _QUOTES),
    (r"',' or '([]}])'", "a bracket that is not closed by {0}, or a missing comma", None),
    (r"unexpected end of stream", "a quote that is not closed", None),
    (r"unknown escape character '(.)'|escape sequence", "a backslash in double quotes", _QUOTES),
    (r"undefined alias '(.*)'", "the text *{0}, an undefined alias in YAML", _QUOTES),
    (r"<block end>", "a line that is not indented as those above it, or text behind a quote",
     "list items and keys of one level begin in one column"),
    (r"the node content, but found '(.*)'", "{0} where a value should be", None),
    (r"expected ':'", "a line without 'key: '", None),
    (r"sequence entries are not allowed", "a list item behind a key: it belongs into the next line",
     None),
    (r"alphabetic or numeric character", "a text that begins with & or *", _QUOTES),
    (r"URI|tag", "a text that begins with !", _QUOTES),
    (r"another document|<document start>", "text after the end: another document", None),
)  # fmt: skip
"""What PyYAML says, what is wrong in the file, and what to do."""


class YamlError(ValueError):
    """YAML that is broken, or not plain data.

    Attributes:
        line: the line it is in, from 1.
        hint: what to write instead, if that is known.
    """

    def __init__(self, what: str, line: int = 1, hint: str | None = None) -> None:
        super().__init__(what)
        self.line = line
        self.hint = hint


class _Loader(yaml.SafeLoader):
    """Composes nodes, not too many, nor too deep."""

    count = 0
    level = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.count += 1
        self.level += 1
        line = self.line + 1
        if self.count > MOST_VALUES:
            raise _too_many(line)
        if self.level > MOST_LEVELS:
            raise _too_deep(line)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.level -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes every text that ``parse_yaml`` would read as something else."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Unicode's line ends: PyYAML writes them as they are, and reads them as blanks.
        style = '"' if any(end in data for end in "\x85\u2028\u2029") else None
        return self.represent_scalar(f"{_TAG}str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _with_our_floats(kind: Any) -> None:
    """Replace YAML 1.1's pattern of a float."""
    kind.yaml_implicit_resolvers = {
        first: [item for item in items if item[0] != f"{_TAG}float"]
        for first, items in kind.yaml_implicit_resolvers.items()
    }
    whole = re.compile(f"(?:{_FLOAT.pattern})$", re.ASCII)
    kind.add_implicit_resolver(f"{_TAG}float", whole, list("-+.0123456789"))


_with_our_floats(_Loader)
_with_our_floats(_Dumper)


def parse_yaml(text: str | bytes) -> Any:
    """Return what a YAML text says, as plain data: an empty text is None.

    Args:
        text: one document; bytes are UTF-8, or UTF-16 with its byte order mark.

    Raises:
        YamlError: it is broken, too large, or holds more than plain data; it names the line.
    """
    if len(text) > MOST_BYTES:
        raise YamlError(f"more than {MOST_BYTES // 1_000_000} MB of YAML")
    if isinstance(text, bytes):
        text = _decode(text)
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _Builder(loader).value(node, 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "it has a wrong form"
        raise _in_words(problem, 1 if mark is None else mark.line + 1) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character U+{ord(text[error.position]):04X} is not allowed"
        raise YamlError(what, line) from error
    except YamlError:
        raise
    except (ValueError, OverflowError) as error:  # an escape or directive with a wild number
        line = 1 if loader is None else loader.line + 1
        raise YamlError("a number is too large or malformed", line) from error


def read_yaml(path: Path) -> Any:
    """Return what a YAML file says; see ``parse_yaml``.

    Raises:
        YamlError: its text is broken, too large, or holds more than plain data.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return parse_yaml(stream.read(MOST_BYTES + 1))


def format_yaml(content: Mapping[str, Any], *, as_ascii: bool = False) -> str:
    """Return plain data as YAML that ``parse_yaml`` reads back the same; keys keep their order.

    Args:
        content: plain data.
        as_ascii: escape all other characters.
    """
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=not as_ascii)


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError("not UTF-8 text", data.count(b"\n", 0, error.start) + 1) from error


def _in_words(problem: str, line: int) -> YamlError:
    for pattern, what, hint in _PROBLEMS:
        match = re.search(pattern, problem)
        if match is not None:
            found = [text.replace("<stream end>", "the end") for text in match.groups(default="")]
            return YamlError(what.format(*found), line, hint)
    return YamlError(problem, line)


def _too_many(line: int) -> YamlError:
    return YamlError(f"more than {MOST_VALUES} values, aliases counted as used", line)


def _too_deep(line: int) -> YamlError:
    return YamlError(f"more than {MOST_LEVELS} levels of nesting", line)


class _Builder:
    """Turns nodes into plain data; an alias becomes a copy."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._count = 0

    def value(self, node: yaml.Node, level: int) -> Any:
        """Return the data of a node at a level of nesting."""
        self._count += 1
        if self._count > MOST_VALUES:
            raise _too_many(_line(node))
        if level > MOST_LEVELS:  # also an alias within what it stands for
            raise _too_deep(_line(node))
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(item, level + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, level)
        raise _unknown_tag(node)

    def _mapping(self, node: yaml.MappingNode, level: int) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        own: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged = self._merged(value_node, level) | merged
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError("a key is a list or a mapping", _line(key_node))
            key = self.value(key_node, level)
            if key in own:
                raise YamlError(f"the key {key_node.value!r} occurs twice", _line(key_node))
            own[key] = self.value(value_node, level + 1)
        return merged | own

    def _merged(self, node: yaml.Node, level: int) -> dict[Any, Any]:
        """Return what the value of a ``<<`` adds: a mapping's keys, or those of several."""
        found = self.value(node, level + 1)
        merged: dict[Any, Any] = {}
        for item in found if isinstance(found, list) else [found]:
            if not isinstance(item, dict):
                raise YamlError("what << merges is no mapping", _line(node))
            merged = item | merged
        return merged

    def _scalar(self, node: yaml.ScalarNode) -> str | int | float | bool | None:
        tag, text = node.tag, node.value
        if tag == f"{_TAG}str":
            return _text(node)
        # A tag in the text may claim what its value is not: `!!int x`.
        means = self._loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        if means == f"{_TAG}timestamp" and tag == means:
            raise YamlError(
                f"{_short(text)} is a date", _line(node), "put it in quotes if it is a text"
            )
        if tag == f"{_TAG}null" and means == tag:
            return None
        if tag == f"{_TAG}bool" and means == tag:
            return bool(self._loader.construct_yaml_bool(node))
        if tag == f"{_TAG}int" and means == tag:
            return self._integer(node)
        if tag == f"{_TAG}float" and means in {tag, f"{_TAG}int"}:
            return self._float(node)
        if tag in {f"{_TAG}{name}" for name in ("null", "bool", "int", "float")}:
            raise YamlError(f"{_short(text)} is no {tag.removeprefix(_TAG)}", _line(node))
        if tag in {_MERGE, f"{_TAG}value"} and means == tag:  # `<<` or `=` as a value
            return _text(node)
        raise _unknown_tag(node)

    def _integer(self, node: yaml.ScalarNode) -> int:
        if len(node.value) <= 100:
            number: int = self._loader.construct_yaml_int(node)
            if -(2**63) <= number < 2**64:
                return number
        raise YamlError(f"{_short(node.value)} is too large for an integer", _line(node))

    def _float(self, node: yaml.ScalarNode) -> float:
        number: float = self._loader.construct_yaml_float(node)
        if math.isinf(number) and "inf" not in node.value.lower():
            raise YamlError(f"{_short(node.value)} is too large for a number", _line(node))
        return number


def _text(node: yaml.ScalarNode) -> str:
    text: str = node.value
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise YamlError("a text holds half a character (a lone surrogate)", _line(node))
    return text


def _unknown_tag(node: yaml.Node) -> YamlError:
    tag = node.tag.replace(_TAG, "!!")
    return YamlError(f"the tag {_short(tag)} is not allowed: plain data only", _line(node))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:30]}... ({len(text)} characters)"
