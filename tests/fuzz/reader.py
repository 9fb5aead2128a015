"""What is fuzzed: a reader with valid inputs, and how an input follows from its number."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from random import Random

from .spoil import spoil

Files = Mapping[str, bytes]
"""An input: the content of files by their names, relative to its folder."""


_LONGEST = 200_000
"""Bytes of a spoilt file: a change on a change can make it as large as one likes."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader under test.

    Attributes:
        name: for ``--reader``.
        valid: makes inputs that the reader accepts, at least two.
        call: reads the input in a folder, which is also the current one.
        targets: patterns of the names of files that are spoilt.
        share: inputs a round; slow readers have a smaller one.
        writes: the call writes to the folder, which is then made anew for every input.
    """

    name: str
    valid: Callable[[], tuple[Files, ...]]
    call: Callable[[Path], object]
    targets: tuple[str, ...] = ("*",)
    share: int = 100
    writes: bool = False


def make_input(reader: Reader, valid: tuple[Files, ...], seed: int, number: int) -> Files:
    """Return input ``number``; the first ones are the valid inputs themselves."""
    if number < len(valid):
        return valid[number]
    random = Random(f"{reader.name} {seed} {number}")
    files = dict(random.choice(valid))
    names = [name for name in files if any(fnmatch(name, item) for item in reader.targets)]
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
        name = random.choice(names)
        spoilt = spoil(random, name, files[name], random.choice(valid).get(name, b""))
        if len(spoilt) <= _LONGEST:
            files[name] = spoilt
    return files


class Folder:
    """A folder that shows one input after the other; only files that differ are written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shown: dict[str, bytes] = {}
        path.mkdir(parents=True)

    def show(self, files: Files) -> None:
        """Bring the folder to hold ``files``, unless somebody else wrote to it."""
        for name in self._shown.keys() - files.keys():
            (self.path / name).unlink()
            del self._shown[name]
        for name, content in files.items():
            if self._shown.get(name) is not content:
                target = self.path / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                self._shown[name] = content

    def clear(self) -> None:
        """Remove everything, also what a reader wrote."""
        shutil.rmtree(self.path)
        self.path.mkdir()
        self._shown.clear()
