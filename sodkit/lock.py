"""One writer at a time for a folder, or for a file and what lies beside it.

A lock file lies in the folder (``.sodkit.lock``) or beside the file, so it moves with a folder that
is moved. It names the process that writes; the lock itself is the system's, which ends with the
process, however that dies, and which network file systems share between machines. The file goes
when the writer is done. What a dead process leaves of it is taken over by the next one.
"""

from __future__ import annotations

import errno
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sodkit.errors import UsageError

LOCK = ".sodkit.lock"
"""Name of the lock file in a folder."""

_BEYOND = 1 << 20
"""The byte that Windows locks: behind the text, which others may then read."""

_MINE: set[tuple[int, int]] = set()
"""The lock files (device, inode) this process holds: the system locks out other processes only."""

_GUARD = threading.Lock()

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What the system says of a lock that another process has."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Make ``folder`` if absent, and be the only one that writes to it while the block runs.

    Folders that were made for it go again if nothing is in them at the end.

    Raises:
        UsageError: another process writes to it, or it cannot be made or written to.
    """
    with _made(folder), _held(folder / LOCK, folder):
        yield


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Be the only one that writes ``path``, and the files that go with it, while the block runs.

    Raises:
        UsageError: another process writes it, or its folder cannot be made or written to.
    """
    with _made(path.parent), _held(path.with_name(f".{path.name}.lock"), path):
        yield


def check_no_writer(folder: Path) -> None:
    """Raise UsageError if a process that is alive writes to ``folder``."""
    if (folder / LOCK).exists():
        with _held(folder / LOCK, folder):
            pass


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; remove the empty ones of them at the end."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError("is a file, a folder was to be written", where=folder) from error
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=folder) from error
    try:
        yield
    finally:
        with suppress(OSError):
            for place in new:
                place.rmdir()


@contextmanager
def _held(path: Path, target: Path) -> Iterator[None]:
    """Hold a lock file; ``target`` is what messages name."""
    descriptor = _acquire(path, target)
    key = _key(os.fstat(descriptor))
    try:
        yield
    finally:
        _release(descriptor, path, key)


def _acquire(path: Path, target: Path) -> int:
    """Return the descriptor of the lock file, locked and with this process's name in it."""
    me = f"{os.getpid()} {platform.node()}"
    while True:
        with _GUARD:
            # Closing a second descriptor of a file would end this process's lock on it.
            if _is_mine(path):
                raise _busy(me, path, target)
            descriptor = _open(path, target)
            owner = _owner(descriptor)
            if not _try_lock(descriptor, owner):
                os.close(descriptor)
                raise _busy(owner, path, target)
            if _is_at(path, descriptor):
                _MINE.add(_key(os.fstat(descriptor)))
                with suppress(OSError):  # on a full disk the lock holds without its text
                    os.ftruncate(descriptor, 0)
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.write(descriptor, f"{me}\n".encode())
                return descriptor
            os.close(descriptor)  # its holder has just removed it: make another


def _release(descriptor: int, path: Path, key: tuple[int, int]) -> None:
    """Remove the lock file and end the lock; the file stays if the folder has been moved."""
    with _GUARD:
        if os.name == "posix":  # while it is locked: nobody takes it in between
            _remove(path, descriptor)
            os.close(descriptor)
        else:  # Windows does not remove a file that is open
            os.close(descriptor)
            with suppress(OSError):
                path.unlink()
        _MINE.discard(key)


def _remove(path: Path, descriptor: int) -> None:
    with suppress(OSError):
        if _is_at(path, descriptor):
            path.unlink()


def _open(path: Path, target: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=target) from error


def _try_lock(descriptor: int, owner: str) -> bool:
    """Lock a file for this process; False if another one has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _BEYOND, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # Not flock: a worker process that outlives a killed run would keep that.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        return not _may_live(owner)  # a file system without locks: what the file says counts
    return True


def _may_live(owner: str) -> bool:
    """Return whether the process that a lock file names may be alive; on another host it may."""
    process, _, host = owner.partition(" ")
    if not process.isdigit():
        return False
    if host != platform.node() or sys.platform == "win32":  # there, kill with 0 is Ctrl-C
        return True
    try:
        os.kill(int(process), 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return int(process) != os.getpid()


def _owner(descriptor: int) -> str:
    """Return what a lock file says: process id and host."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 1000).decode(errors="replace").strip()


def _busy(owner: str, path: Path, target: Path) -> UsageError:
    process, _, host = owner.partition(" ")
    who = f"process {process} on {host}" if host else "another process"
    hint = "wait for it, or give another --out"
    if host not in ("", platform.node()):
        hint += f"; if that process is dead, remove {path}"
    return UsageError(f"{who} is writing to it", where=target, hint=hint)


def _is_mine(path: Path) -> bool:
    try:
        return _key(path.stat()) in _MINE
    except OSError:
        return False


def _is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file still stands under its name."""
    try:
        return _key(path.stat()) == _key(os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _key(state: os.stat_result) -> tuple[int, int]:
    return state.st_dev, state.st_ino
