"""Names of subsets: train, val, test and their variants, in the names of files and folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_NAME = re.compile(
    r"(train|val|test|dev|trainval|minival)(?:ing|id|idation)?[-_]?(?:set)?(\d{4})?"
    r"(?:[-_](?:dev|challenge))?"
)
_SEPARATOR = re.compile(r"[-_ ]")
_AFFIXES = {"instances", "annotations", "annotation", "coco", "labels", "gt"}


def kind_of(name: str) -> str | None:
    """Return train, val, test ... for a subset's name, else None.

    Names are ``valid``, ``train2017``, ``test-dev``; of a folder also what ends in one behind a
    hyphen, underscore or blank, such as ``VisDrone2019-DET-train``.
    """
    parts = _SEPARATOR.split(name.casefold())
    ends = ("-".join(parts[start:]) for start in range(len(parts)))
    match = next(filter(None, map(_NAME.fullmatch, ends)), None)
    return None if match is None else match[1]


def names_subset(stem: str) -> bool:
    """Return whether the whole stem of a file is a subset's name."""
    return _NAME.fullmatch(stem.casefold()) is not None


def by_subset(files: Sequence[Path]) -> dict[str, Path]:
    """Return the files that are named by subset, by its name.

    The name is the whole one but for words such as ``instances``: ``instances_train2017`` is
    ``train2017``. Where no file has such a name, files count whose names differ in nothing else:
    ``aitod_train_v1`` and ``aitod_test_v1``.
    """
    found = {name: file for file in files if (name := _own_name(file.stem))}
    if found:
        return found
    split = {file: re.split(r"[-._ ]", file.stem) for file in files}
    named = {file: [word for word in words if names_subset(word)] for file, words in split.items()}
    alike = [file for file in files if len(named[file]) == 1]
    frames = {file: tuple(w for w in split[file] if w not in named[file]) for file in alike}
    same = [file for file in alike if list(frames.values()).count(frames[file]) > 1]
    if len({frames[file] for file in same}) != 1:
        return {}
    return {named[file][0]: file for file in same}


def subset_of(stem: str) -> str | None:
    """Return the one word of a file's stem that is a subset's name, if there is one."""
    words = [word for word in re.split(r"[-._ ]", stem) if names_subset(word)]
    return words[0] if len(words) == 1 else None


def _own_name(stem: str) -> str | None:
    """Return the subset's name that a file's stem is but for ``_AFFIXES``."""
    tokens = [token for token in re.split(r"[._]", stem) if token.casefold() not in _AFFIXES]
    return tokens[0] if len(tokens) == 1 and names_subset(tokens[0]) else None
