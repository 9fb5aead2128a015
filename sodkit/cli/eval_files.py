"""Which predictions ``sodkit eval`` is given: files, or methods with a file for each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

Methods = Mapping[str, Mapping[str, Path]]
"""Files by the name of their method and their own name, all different."""


def chosen_files(given: Sequence[Path]) -> tuple[Methods, bool]:
    """Return the methods, and whether they were named: ``NAME=FILE,FILE``.

    A path that exists is a file, whatever its name; a file alone is a method of its own.

    Raises:
        UsageError: a file is given twice, or a name has no files.
    """
    from sodkit.data.formats.folders import is_file, is_folder
    from sodkit.errors import UsageError

    parted = [
        ("", str(path)) if is_file(path) or is_folder(path) else _parted(str(path))
        for path in given
    ]
    files = [Path(part) for name, text in parted for part in _files(name, text)]
    names = iter(zip(run_names(files), files, strict=True))
    methods: dict[str, dict[str, Path]] = {}
    for name, text in parted:
        own = dict(next(names) for _ in _files(name, text))
        called = name or next(iter(own), "")
        if called in methods or not own:
            fault = "is given twice" if own else "has no files"
            raise UsageError(f"'{called}' {fault}", hint="NAME=FILE,FILE gives a method's seeds")
        methods[called] = own
    return methods, any(name for name, _ in parted)


def run_names(paths: Sequence[Path]) -> list[str]:
    """Return a short name for each predictions file: its stem, or as much as makes them differ.

    Raises:
        UsageError: if one file is given twice.
    """
    from sodkit.errors import UsageError

    if len(set(paths)) < len(paths):
        raise UsageError("the same predictions are given twice")
    for shorten in (lambda p: p.stem, lambda p: f"{p.parent.name}/{p.stem}", str):
        names = [shorten(path) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _parted(text: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    return (name, rest) if equals and name else ("", text)


def _files(name: str, text: str) -> list[str]:
    return [part for part in text.split(",") if part] if name else [text]
