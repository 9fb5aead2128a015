"""The one reader of YAML: what it takes, what it refuses, and that refusing is cheap."""

from __future__ import annotations

import math
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sodkit import yaml_text
from sodkit.yaml_text import YamlError, format_yaml, parse_yaml, read_yaml

LAUGHS = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
MERGED_LAUGHS = "a0: &a0 {a: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("+1.e3", 1e3),
        ("-.5e-2", -0.005),
        ("1_0.5", 10.5),
        ("1:30.5", 90.5),
        (".inf", math.inf),
        ("e3", "e3"),
        ("1e", "1e"),
        ("1e3x", "1e3x"),
        ("'1e3'", "1e3"),
        ("[yes, No, on, OFF, true, 0, 1]", [True, False, True, False, True, 0, 1]),
        ("[~, null, '']", [None, None, ""]),
        ("0x1F", 31),
        ("!!float 1", 1.0),
        ("!!str 5", "5"),
        ("", None),
        (b"\xef\xbb\xbfa: 1", {"a": 1}),
        ("ä: 1".encode("utf-16"), {"ä": 1}),
        ("a: &a [1]\nb: *a", {"a": [1], "b": [1]}),
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
    ],
)
def test_reads(text: str | bytes, value: Any) -> None:
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' occurs twice"),
        ("{a: 1, 'a': 2}", 1, "the key 'a' occurs twice"),
        ("x:\n  1: a\n  0x1: b\n", 3, "the key '0x1' occurs twice"),
        ("a: 1\n[b]: 2", 2, "a key is a list"),
        ("a: 1\nb: 2020-13-45", 2, "is a date"),
        ("!!timestamp x", 1, "!!timestamp is not allowed"),
        ("!!int x", 1, "x is no int"),
        ("!!int", 1, "is no int"),
        ("!!bool x", 1, "x is no bool"),
        ("!!float x", 1, "x is no float"),
        ("!!null x", 1, "x is no null"),
        ("!!map [a]", 1, "!!map is not allowed"),
        ("!!binary aGk=", 1, "!!binary is not allowed"),
        ("!!python/object/apply:os.system [ls]", 1, "plain data only"),
        ("9" * 5000, 1, "too large for an integer"),
        ("1e999", 1, "too large for a number"),
        ("0b_", 1, "malformed"),
        ("1" + ":1" * 400 + ".5", 1, "too large"),
        ('"\\UFFFFFFFF"', 1, "too large"),
        ('"\\ud800"', 1, "lone surrogate"),
        ("a\x00", 1, r"U\+0000 is not allowed"),
        (b"a\nb\xff", 2, "not UTF-8"),
        ("a: &a [*a]", 1, "levels of nesting"),
        ("a: &a [*a, *a]", 1, "levels of nesting|values"),
        ("[" * 100_000, 1, "levels of nesting"),
        (LAUGHS, 1, "more than 50000 values"),
        (MERGED_LAUGHS, 1, "more than 50000 values"),
        ("#" * 1_000_001, 1, "more than 1 MB"),
        ("a: [", 1, "the end where a value should be"),
        ("*x", 1, "undefined alias"),
        ("a\n---\nb", 2, "another document"),
        ("<<: 3", 1, "merges is no mapping"),
        ("a: b: c", 1, "a second ': ' in a line"),
        ("a:\n\t- b", 2, "a tab, where YAML has spaces"),
        ("a: @b", 1, "a text that begins with @"),
        ("a: [b, c", 1, "a bracket that is not closed by ]"),
        ('a: "b', 1, "a quote that is not closed"),
        (r'path: "D:\data"', 1, "a backslash in double quotes"),
        ("names:\n  - a\n b: 1", 3, "not indented as those above"),
    ],
)
def test_refuses(text: str | bytes, line: int, message: str) -> None:
    with pytest.raises(YamlError, match=message) as caught:
        parse_yaml(text)
    assert caught.value.line == line
    assert len(str(caught.value)) < 200


def test_values_are_counted_while_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "MOST_VALUES", 100)
    assert parse_yaml("[" + "1," * 99 + "]") == [1] * 99
    with pytest.raises(YamlError, match="more than 100 values") as caught:
        parse_yaml("[" + "1,\n" * 100 + "[")
    assert caught.value.line > 90


def test_aliases_that_multiply_take_little_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(YamlError):
            parse_yaml(LAUGHS)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_a_large_file_is_not_read_to_its_end(tmp_path: Any) -> None:
    path = tmp_path / "large.yaml"
    with path.open("wb") as stream:
        stream.truncate(10**12)  # takes no room on the disk
    with pytest.raises(YamlError, match="more than 1 MB"):
        read_yaml(path)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["1e3", "1e-3", ".5e1", "1:30", "2020-01-01", "=", "<<", "no", "~", "0x1", "1_0", ".inf", "-"]
)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(content=st.dictionaries(TEXTS, PLAIN, max_size=4), as_ascii=st.booleans())
def test_what_is_written_is_read(content: dict[str, Any], as_ascii: bool) -> None:
    text = format_yaml(content, as_ascii=as_ascii)
    assert parse_yaml(text) == content
    assert parse_yaml(text.encode()) == content
    assert text.isascii() or not as_ascii


@settings(deadline=None, max_examples=200)
@given(
    parts=st.lists(
        st.sampled_from(list("[]{}:,-?&*!|>'\"%@`#~=\n\t 01ex.ab\\")
                        + ["!!int ", "!!float ", "!!bool ", "!!null ", "<<: ", "&a ", "*a", "\\x",
                           "\\U", "---\n", "%YAML ", "%TAG ", "0x", "2020-1-1", "\ud800", "\x00"]),
        max_size=25,
    )
)  # fmt: skip
def test_any_text_is_read_or_refused(parts: list[str]) -> None:
    with suppress(YamlError):
        parse_yaml("".join(parts))


def test_pyyaml_keeps_its_own_forms() -> None:
    """Ours are set on classes of our own, not on PyYAML's."""
    assert yaml.safe_load("1e-3") == "1e-3"
    assert yaml_text.parse_yaml("1e-3") == 1e-3
