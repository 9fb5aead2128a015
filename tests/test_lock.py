"""One writer at a time: real processes, also killed ones."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from holding import HOLD, holding

from sodkit.errors import UsageError
from sodkit.lock import LOCK, check_no_writer, lock_file, lock_folder


def take(path: Path) -> None:
    with lock_folder(path):
        pass


def test_a_second_process_is_refused_and_the_writer_is_named(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with holding(out) as process:
        who = f"process {process.pid} on {platform.node()} is writing"
        with pytest.raises(UsageError, match=who):
            take(out)
        with pytest.raises(UsageError, match=who):
            check_no_writer(out)
        assert [path.name for path in out.iterdir()] == [LOCK]


def test_a_killed_process_keeps_no_lock(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with holding(out) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (out / LOCK).exists()
        check_no_writer(out)
        take(out)
        assert list(out.iterdir()) == []


def test_a_worker_that_outlives_a_killed_process_keeps_no_lock(tmp_path: Path) -> None:
    """Forked processes that read images inherit the descriptor."""
    out = tmp_path / "run"
    fork = "child = os.fork()\n    if child == 0: time.sleep(60)\n    print(child, flush=True)"
    code = HOLD.format(lock="lock_folder", path=str(out), more=fork)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout is not None
        child = int(main.stdout.readline())
        assert main.stdout.readline() == "held\n"
        try:
            main.kill()
            main.wait()
            os.kill(child, 0)  # it lives
            take(out)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_moved_folder_stays_locked(tmp_path: Path) -> None:
    with holding(tmp_path / "run"):
        (tmp_path / "run").rename(tmp_path / "moved")
        with pytest.raises(UsageError, match="is writing"):
            take(tmp_path / "moved")
        take(tmp_path / "run")


def test_one_process_does_not_lock_twice(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with lock_folder(out):
        with pytest.raises(UsageError, match=f"process {os.getpid()} on"):
            take(out)
        code = f"from sodkit.lock import *; check_no_writer(Path({str(out)!r}))"
        other = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
        assert b"is writing" in other.stderr  # the refusal has not ended the lock
    take(out)


def test_a_folder_that_stays_empty_goes_again(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"

    def fail() -> None:
        with lock_folder(out):
            assert (out / LOCK).exists()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []
    with lock_folder(out):
        (out / "x").touch()
    assert [path.name for path in out.iterdir()] == ["x"]


def test_a_file_is_locked_apart_from_others_in_its_folder(tmp_path: Path) -> None:
    with holding(tmp_path / "found.json", "lock_file"):
        with pytest.raises(UsageError, match="is writing"), lock_file(tmp_path / "found.json"):
            pass
        with lock_file(tmp_path / "other.json"):
            pass


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(UsageError, match="is a file"):
        take(tmp_path / "run")
    with pytest.raises(UsageError, match="cannot be written"):
        take(tmp_path / "run" / "below")


@pytest.mark.parametrize(
    ("owner", "refused"),
    [("1 {here}", True), ("{dead} {here}", False), ("7 elsewhere", True), ("", False)],
)
def test_without_locks_of_the_file_system_what_the_file_says_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str, refused: bool
) -> None:
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    text = owner.format(here=platform.node(), dead=dead.pid)
    (tmp_path / LOCK).write_text(text)
    monkeypatch.setattr(fcntl, "lockf", unsupported)
    if not refused:
        take(tmp_path)
        return
    with pytest.raises(UsageError, match="is writing") as caught:
        take(tmp_path)
    assert ("if that process is dead, remove" in str(caught.value)) == ("elsewhere" in text)
    assert (tmp_path / LOCK).read_text() == text
