from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sodkit.errors import SodkitError, UsageError
from sodkit.files import atomic_path, write_text


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_file_mode_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_leaves_nothing_behind_when_stopped(tmp_path: Path, stop: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise stop

    with pytest.raises(stop):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        write_text(tmp_path, "x")


def test_files_follow_the_umask_also_under_threads(tmp_path: Path) -> None:
    """Many threads writing at once leave neither other modes nor another umask behind."""
    before = os.umask(0o027)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: write_text(tmp_path / f"{i}.txt", "x"), range(200)))
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}
    finally:
        assert os.umask(before) == 0o027


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    def fill() -> None:
        with atomic_path(tmp_path / "a.txt"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SodkitError, match="No space left"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_another_command_removed_what_was_written(tmp_path: Path) -> None:
    """Two splits into one folder: the later one tidies away what the earlier one began."""
    with (
        pytest.raises(UsageError, match="another command writes to this folder"),
        atomic_path(tmp_path / "a.json") as temporary,
    ):
        temporary.unlink()
    assert list(tmp_path.iterdir()) == []
