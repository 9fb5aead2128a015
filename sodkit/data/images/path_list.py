"""Paths as a user names them: patterns, and a list on standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from sodkit.errors import DataError, UsageError

STDIN = "-"


def expanded(paths: Sequence[Path], stdin: BinaryIO) -> list[Path]:
    """Return paths with patterns replaced by what matches them, and ``-`` by what stdin lists.

    Args:
        paths: files, folders, patterns with ``*``, ``?``, ``[...]`` or ``**`` for any folders, and
            ``-``. A path that exists is no pattern.
        stdin: a path a line, or ended by NUL each, as ``find -print0`` gives them.

    Raises:
        DataError: a pattern that nothing matches, or an empty list.
        UsageError: ``-`` twice.
    """
    if sum(str(path) == STDIN for path in paths) > 1:
        raise UsageError("standard input can be read once", where=STDIN)
    found: list[Path] = []
    for path in paths:
        if str(path) == STDIN:
            found += _listed(stdin.read())
        elif glob.has_magic(str(path)) and not os.path.lexists(path):
            found += _matching(path)
        else:
            found.append(path)
    return found


def _listed(data: bytes) -> list[Path]:
    names = data.split(b"\0") if b"\0" in data else data.splitlines()
    paths = [Path(os.fsdecode(name)) for name in names if name.strip()]
    if not paths:
        raise DataError("standard input lists no path", hint="give a path a line")
    return paths


def _matching(pattern: Path) -> list[Path]:
    """Return what a pattern matches, sorted."""
    paths = sorted(glob.glob(str(pattern), recursive=True))
    if not paths:
        raise DataError("no file matches this pattern", where=pattern)
    return [Path(path) for path in paths]
