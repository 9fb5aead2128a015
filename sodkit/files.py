"""Writing files so that nothing half-written ever stands under its final name."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sodkit.errors import UsageError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; move it there if the block ends without an exception.

    The temporary file carries the suffix of ``path`` (libraries choose formats by it) and is
    removed when the block fails or is interrupted.

    Args:
        path: the final file. Its folder is made if absent; an existing file is replaced.

    Yields:
        the path to write to.

    Raises:
        UsageError: if ``path`` is a folder, or its folder cannot be made or written to.
    """
    if path.is_dir():
        raise UsageError("is a folder, a file was to be written", where=path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-", suffix=path.suffix)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=path) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the process's umask (it can only be read by setting it)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, all or nothing."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, all or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def require_new_folder(path: Path, *, hint: str) -> None:
    """Raise if ``path`` exists and is anything but an empty folder.

    Args:
        path: the folder a command is about to fill.
        hint: what the user can do if it is taken.

    Raises:
        UsageError: if it is a file, or a folder with something in it.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError("exists already", where=path, hint=hint)
