"""Files that only the user can have written, for what is run as it stands.

On POSIX a file is private if it and its folder belong to the user or to root (who may do anything
anyway), no other user may write to them, and none may put another folder in their place. Root
trusts only what is root's. On Windows access is not checked: permissions are no mode bits there,
and a user's profile, as an installation for all, is closed to other users by default.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_POSIX = os.name == "posix"


class NotPrivateError(Exception):
    """Another user may have written a file.

    Args:
        place: the file, its folder or one above it.
        why: what is wrong with it.
    """

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place} {why}")


def read_private(path: Path) -> bytes:
    """Return the content of a file that only the user can have written.

    The file that is checked is the one that is read: both go by one descriptor.

    Raises:
        NotPrivateError: others may write to it, or it is a link.
        OSError: it is missing or cannot be read.
    """
    if not _POSIX:
        return path.read_bytes()
    name = os.path.join(os.path.realpath(path.parent), path.name)
    if stat.S_ISLNK(os.lstat(name).st_mode):
        raise NotPrivateError(name, "is a link")
    check_folder(path.parent)
    try:
        # Not to wait for the other end, should it be a pipe.
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPrivateError(name, "is a link") from error
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotPrivateError(name, "is no ordinary file")
        _check(name, status)
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(descriptor)


def check_folder(folder: Path) -> None:
    """Raise if others than the user may change what is in a folder, or put another in its place.

    Raises:
        NotPrivateError: they may.
        OSError: it is missing.
    """
    if not _POSIX:
        return
    place = os.path.realpath(folder)
    _check(place, os.lstat(place))
    while (above := os.path.dirname(place)) != place:
        place = above
        status = os.lstat(place)
        # Where all may write but the sticky bit is set, as in /tmp, what is ours stays in place.
        _check(place, status, shared=bool(status.st_mode & stat.S_ISVTX))


def make_folder(folder: Path, mode: int) -> None:
    """Make a folder, and those above it, with ``mode`` (less what the umask takes)."""
    if not folder.is_dir():
        make_folder(folder.parent, mode)
        folder.mkdir(mode, exist_ok=True)


def _check(place: str, status: os.stat_result, *, shared: bool = False) -> None:
    """Raise if others may write to a file or folder; if it is ``shared``, only if it is theirs."""
    if status.st_uid not in (0, os.geteuid()):
        raise NotPrivateError(place, "belongs to another user")
    group = status.st_mode & stat.S_IWGRP and not _is_own_group(status.st_gid)
    if not shared and (status.st_mode & stat.S_IWOTH or group):
        raise NotPrivateError(place, "may be written to by others (chmod go-w closes it)")


def _is_own_group(number: int) -> bool:
    """Return whether a group has no other member than the user.

    Many systems give each user a group of the same name, and a umask that lets it write. Root's own
    group does not count: containers put arbitrary users into it.
    """
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(number)
    except KeyError:
        return False
    alone = group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
    return number != 0 and user.pw_gid == number and alone
