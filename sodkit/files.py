"""Writing files so that nothing half-written ever stands under its final name."""

from __future__ import annotations

import errno
import itertools
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sodkit.errors import SodkitError, UsageError

StrPath = str | os.PathLike[str]
"""A path as the public functions take it: text will do."""

TEMPORARY = ".tmp-"
"""What the names of temporary files start with."""

_TOKEN = secrets.token_hex(8)
"""In the names of this process's temporary files; other processes and machines have others."""

_NUMBER = itertools.count()

_FULL = (errno.ENOSPC, errno.EDQUOT)


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
        UsageError: if ``path`` is a folder, or its folder cannot be made or written to, or another
            process removed the temporary file.
        SodkitError: if the disk is full.
    """
    if path.is_dir():
        raise UsageError("is a folder, a file was to be written", where=path)

    temporary = path.with_name(f"{temporary_name()}{path.suffix}")
    with full_disk_named(path):
        try:
            os.close(_open_new(str(temporary)))
        except OSError as error:
            if error.errno in _FULL:
                raise
            raise UsageError(f"cannot be written: {error.strerror}", where=path) from error
        try:
            yield temporary
            try:
                os.replace(temporary, path)
            except FileNotFoundError as error:
                raise UsageError(
                    "what was written has been removed: another command writes to this folder",
                    where=path,
                    hint="give it another --out, or wait for it",
                ) from error
        finally:
            temporary.unlink(missing_ok=True)


def temporary_name() -> str:
    """Return a name without suffix that no other call returns, in whatever process."""
    return f"{TEMPORARY}{_TOKEN}-{os.getpid()}-{next(_NUMBER)}"


@contextmanager
def full_disk_named(path: Path) -> Iterator[None]:
    """Turn the system's error about a full disk into ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise SodkitError(
            f"cannot be written: {error.strerror}",
            where=path,
            hint="free some space and run the same command again",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, all or nothing."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes | memoryview, *, mode: int = 0o666) -> None:
    """Write ``data`` to ``path``, all or nothing.

    As ``atomic_path`` does it, in as few calls of the system as there can be: a split writes
    hundreds of thousands of patches.

    Args:
        path: the file; replaced if it exists.
        data: its content.
        mode: its permissions, less what the umask takes.

    Raises:
        UsageError: if ``path`` is a folder, or its folder cannot be made or written to.
        SodkitError: if the disk is full.
    """
    temporary = f"{path.parent}/{temporary_name()}{path.suffix}"
    with full_disk_named(path):
        try:
            descriptor = _open_new(temporary, mode)
            try:
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)
            os.replace(temporary, path)
        except BaseException as error:
            with suppress(OSError):
                os.unlink(temporary)
            if isinstance(error, OSError) and error.errno not in _FULL:
                folder = "is a folder, a file was to be written"
                what = folder if path.is_dir() else f"cannot be written: {error.strerror}"
                raise UsageError(what, where=path) from error
            raise


def _open_new(path: str, mode: int = 0o666) -> int:
    """Open a new file to write to, making its folder if absent.

    Opened for its mode: unlike tempfile's it follows the umask, which cannot be read by threads.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    try:
        return os.open(path, flags, mode)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, mode)


def _write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data``: one call of the system may take only a part of it."""
    rest = memoryview(data)
    while len(rest):
        rest = rest[os.write(descriptor, rest) :]
