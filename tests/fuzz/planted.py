"""``python -m tests.fuzz.planted``: readers with a fault each, which the fuzzer must find."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from sodkit.errors import DataError

from .command import main
from .reader import Files, Reader

_KEPT: list[object] = []


def _valid() -> tuple[Files, ...]:
    return ({"a.json": b'{"x": [1, 2]}'}, {"a.json": b'{"x": [3]}'})


def _content(folder: Path) -> object:
    """Return the file's content, by an error of ours if it is none."""
    try:
        return json.loads((folder / "a.json").read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError("no JSON", where=folder) from error


def _is_valid(folder: Path) -> bool:
    return (folder / "a.json").read_bytes() in {files["a.json"] for files in _valid()}


def _sound(folder: Path) -> None:
    _content(folder)


def _raises(folder: Path) -> None:
    """Raise KeyError for JSON that lacks the key."""
    content = _content(folder)
    if isinstance(content, dict):
        content["x"]


def _sleeps(folder: Path) -> None:
    if not _is_valid(folder):
        time.sleep(30)


def _spins(folder: Path) -> None:
    """Wait where no signal is heard, as in a library's loop."""
    if not _is_valid(folder):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(60)


def _fills(folder: Path) -> None:
    # above the limit of the test (100 MB), below the address space that ``watch`` adds (300 MB)
    if not _is_valid(folder):
        _KEPT[:] = [np.ones(200 << 20, np.uint8)]
        raise DataError("too much", where=folder)


def _asks(folder: Path) -> None:
    """Ask for more than there is; the library's error must not pass."""
    if not _is_valid(folder):
        np.ones(1 << 45, np.uint8)


def _dies(folder: Path) -> None:
    if not _is_valid(folder):
        os.kill(os.getpid(), signal.SIGSEGV)


def _warns(folder: Path) -> None:
    if not _is_valid(folder):
        warnings.warn("odd", RuntimeWarning, stacklevel=1)


def _prints(folder: Path) -> None:
    """Write as a library does: past Python's streams."""
    if not _is_valid(folder):
        os.write(2, b"library: 7 errors\n")


PLANTED = tuple(
    Reader(call.__name__.removeprefix("_"), _valid, call, share=10)
    for call in (_sound, _raises, _sleeps, _spins, _fills, _asks, _dies, _warns, _prints)
)

if __name__ == "__main__":
    sys.exit(main(PLANTED, "python -m tests.fuzz.planted", sys.argv[1:]))
