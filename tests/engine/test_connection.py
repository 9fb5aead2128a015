"""When one of several processes ends, the others end too, and one of them says why."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.elastic.multiprocessing.errors import (
    ChildFailedError,
    ProcessFailure,
    get_error_handler,
)

from sodkit.engine.connection import _has_said, _say_once, joined
from sodkit.engine.world import World
from sodkit.errors import DataError, ReportedError, SodkitError
from tests.engine.processes import in_processes

LOST = RuntimeError("[gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:49353")


def summary(file: Path) -> str:
    """Return what torchrun's summary says of a process that left an error in a file."""
    get_error_handler().dump_error_file(str(file), 3)  # as it does
    failure = ProcessFailure(local_rank=1, pid=7, exitcode=3, error_file=str(file))
    assert abs(failure.timestamp - time.time()) < 60
    text = str(ChildFailedError("sodkit", {1: failure}))
    assert "exitcode  : 3 (pid: 7)" in text
    return text.partition("traceback : ")[2].partition("\n====")[0]


def test_the_first_process_that_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
    store = dist.HashStore()
    wrong = DataError("is bad", where="1.png", hint="copy it again")
    with pytest.raises(DataError) as error:
        _say_once(wrong, store)
    assert error.value is wrong
    assert summary(file) == "1.png: is bad\n  copy it again"
    _has_said(store)  # as it ends
    for also, code in ((DataError("too"), 3), (KeyboardInterrupt(), 130), (LOST, 1)):
        with pytest.raises(ReportedError) as reported:
            _say_once(also, store)
        assert reported.value.exit_code == code
    assert summary(file) == "1.png: is bad\n  copy it again"


def test_a_lost_connection_is_said_by_who_misses_it_first() -> None:
    with pytest.raises(SodkitError, match="another process of the run was killed") as error:
        _say_once(LOST, dist.HashStore())
    assert error.value.__cause__ is LOST
    mistake = RuntimeError("shapes do not fit")
    with pytest.raises(RuntimeError, match="shapes"):
        _say_once(mistake, dist.HashStore())


def _die(world: World) -> None:
    """Process 1 is killed; process 0 waits for it, whatever ends it from outside."""
    if not world.first:
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    world.wait()


def test_a_process_that_is_killed_ends_the_others(tmp_path: Path) -> None:
    file = tmp_path / "error.json"
    with pytest.raises((mp.ProcessRaisedException, mp.ProcessExitedException)):
        in_processes(_die, error_file=file)
    assert "another process of the run was killed" in file.read_text()


def test_alone_errors_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(SodkitError, match="mine"), joined():
        raise SodkitError("mine")
