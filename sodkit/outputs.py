"""What a command may write to, and what ``--overwrite`` may replace.

Only what sodkit has written is ever replaced or removed. A folder that a command fills holds the
file ``.sodkit``: the command's name and the files that are its own. It is written before they are,
so a run that was killed can be replaced, too. Files that it does not name stay; where one is in the
way, nothing is written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from sodkit.errors import UsageError
from sodkit.files import TEMPORARY, StrPath, full_disk_named, temporary_name, write_text
from sodkit.lock import LOCK, lock_file, lock_folder

MARK = ".sodkit"
"""Names the command that filled a folder, and its files."""

SCHEMA_VERSION = 1
"""Of the JSON objects that commands print and write."""

OUTPUT_MARKS = (MARK, "split.json", "run.json")
"""A folder with one of these has been written by a command."""

_LEFT = re.compile(re.escape(TEMPORARY) + r"[0-9a-f]{16}-\d+-\d+(\..*)?")
"""What ``temporary_name`` gives: left by a process that was killed."""


def json_object(data: Mapping[str, Any]) -> str:
    """Return data as a JSON object with ``schema_version``; ValueError if there is NaN in it."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **data}, indent=2, allow_nan=False)


def check_file(path: Path, *, overwrite: bool, is_own: Callable[[Path], bool], what: str) -> None:
    """Raise unless a command may write ``path``: before it does its work.

    Args:
        path: the file it is to write.
        overwrite: a file of the kind that the command writes may be replaced.
        is_own: returns whether an existing file is of that kind.
        what: the kind, for the message.

    Raises:
        UsageError: it is a folder, or exists and may not be replaced.
    """
    if path.is_dir():
        raise UsageError("is a folder, a file was to be written", where=path)
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise _exists(path)
    if not path.is_file() or not is_own(path):
        raise UsageError(
            f"exists and is no {what}: --overwrite does not replace it",
            where=path,
            hint="give another --out, or remove the file yourself",
        )


@contextmanager
def fill_file(path: Path, check: Callable[[], None]) -> Iterator[None]:
    """Let the block write a file, as its only writer.

    Args:
        path: the file.
        check: raises unless the file may be written, as ``check_file`` does.

    Raises:
        UsageError: another process writes it, or its folder cannot be made or written to.
    """
    check()
    with lock_file(path):
        check()  # its last writer may have ended between the two
        yield


def check_not_read(out: Path, source: Path) -> None:
    """Raise UsageError if ``out`` is a file or folder that the command reads from.

    Args:
        out: what is to be written.
        source: a file or folder that is read.
    """
    if not out.exists() or not source.exists():
        return
    place, read = out.resolve(), source.resolve()
    if place == read or place in read.parents or (place.is_file() and read in place.parents):
        raise UsageError(
            "is read by this command, it cannot be written", where=out, hint="give another --out"
        )


def is_free(folder: Path) -> bool:
    """Return whether a folder is absent, or holds nothing but what a killed command left."""
    if not os.path.lexists(folder):
        return True
    return folder.is_dir() and not any(
        entry.name not in (LOCK, MARK) and not _LEFT.fullmatch(entry.name)
        for entry in folder.iterdir()
    )


@contextmanager
def fill_folder(
    folder: StrPath, command: str, names: Iterable[str], *, overwrite: bool
) -> Iterator[None]:
    """Let the block write files into a folder, as its only writer.

    Args:
        folder: new, empty, or filled by the same command if ``overwrite``.
        command: the command that fills it.
        names: the files that the block may write, relative, with forward slashes.
        overwrite: replace what the command has written; earlier files without a successor go.

    Raises:
        UsageError: another process writes to it, it holds files and they may not be replaced, or it
            cannot be written to.
    """
    folder = Path(folder)
    with lock_folder(folder):
        new = frozenset(names)
        old = _claim(folder, command, new, overwrite=overwrite)
        _write_mark(folder, command, old | new)
        try:
            yield
        except BaseException:
            if not any(os.path.lexists(folder / name) for name in old | new):
                (folder / MARK).unlink(missing_ok=True)
            raise
        remove_files(folder, old - new)
        _write_mark(folder, command, new)


@contextmanager
def stage_folder(folder: Path, command: str, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder in ``folder``; its content moves there if the block ends well.

    Args:
        folder: new, empty, or filled by the same command if ``overwrite``.
        command: the command that fills it.
        overwrite: replace what the command has written; earlier files without a successor go.

    Raises:
        UsageError: as ``fill_folder``.
        SodkitError: if the disk is full.
    """
    with lock_folder(folder), full_disk_named(folder):
        old = _claim(folder, command, frozenset(), overwrite=overwrite)
        stage = folder / temporary_name()
        try:
            stage.mkdir()
            yield stage
            new = frozenset(_files_below(stage))
            _check_not_in_the_way(folder, command, new - old)
            _write_mark(folder, command, old | new)
            _move(stage, folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        remove_files(folder, old - new)
        _write_mark(folder, command, new)


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files of a folder, and the folders in it that are empty then.

    A name that leads out of the folder, by ``..`` or through a link, is left alone.
    """
    root = folder.resolve()
    parents = set()
    for name in names:
        path = folder / name
        if not path.parent.resolve().is_relative_to(root) or ".." in PurePosixPath(name).parts:
            continue
        if path.is_dir() and not path.is_symlink():
            continue
        path.unlink(missing_ok=True)
        parents |= {folder / place for place in PurePosixPath(name).parents if place.name}
    for parent in sorted(parents, reverse=True):
        with suppress(OSError):
            parent.rmdir()


def _claim(folder: Path, command: str, new: Set[str], *, overwrite: bool) -> frozenset[str]:
    """Check that the command may write these files; return those that it wrote before."""
    for entry in folder.iterdir():
        if _LEFT.fullmatch(entry.name) and entry.is_dir():  # a stage: its process is dead
            shutil.rmtree(entry)
    if is_free(folder):
        return frozenset()
    if not overwrite:
        raise _exists(folder)
    writer, old = _read_mark(folder)
    if writer != command:
        by = f"written by sodkit {writer}" if writer else "not written by sodkit"
        raise UsageError(
            f"is not empty and {by}: --overwrite replaces only what {command} wrote",
            where=folder,
            hint="give another folder by --out",
        )
    _check_not_in_the_way(folder, command, new - old)
    return old


def _check_not_in_the_way(folder: Path, command: str, names: Iterable[str]) -> None:
    for name in names:
        if os.path.lexists(folder / name):
            raise UsageError(
                f"is in the way and was not written by sodkit {command}",
                where=folder / name,
                hint="move the file, or give another folder by --out",
            )


def _read_mark(folder: Path) -> tuple[str | None, frozenset[str]]:
    """Return the command that filled a folder and its files; None: no command did."""
    try:
        content = json.loads((folder / MARK).read_text("utf-8"))
        return str(content["command"]), frozenset(map(str, content["files"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, frozenset()


def _write_mark(folder: Path, command: str, names: Set[str]) -> None:
    content = {"schema_version": 1, "command": command, "files": sorted(names)}
    write_text(folder / MARK, json.dumps(content, indent=0) + "\n")


def _files_below(folder: Path) -> Iterator[str]:
    for place, _, files in os.walk(folder):
        for file in files:
            yield (Path(place) / file).relative_to(folder).as_posix()


def _move(source: Path, target: Path) -> None:
    """Move what is in a folder into another: folders first, then the files that go with them."""
    for entry in sorted(source.iterdir(), key=lambda entry: (not entry.is_dir(), entry.name)):
        place = target / entry.name
        if entry.is_dir() and not entry.is_symlink() and place.is_dir():
            _move(entry, place)
        else:
            os.replace(entry, place)


def _exists(path: Path) -> UsageError:
    return UsageError(
        "exists already", where=path, hint="give another --out, or --overwrite to replace it"
    )
