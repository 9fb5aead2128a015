"""A machine that gives out is said in our words."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sodkit.data.records import Annotations
from sodkit.data.samples.loader import WorkerGoneError
from sodkit.engine.failures import explained
from sodkit.engine.reports import StepReport
from sodkit.engine.train import train
from sodkit.errors import SodkitError
from sodkit.settings import Recipe

FULL = """
import resource, torch
from sodkit.engine.failures import explained
from sodkit.errors import SodkitError

resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
try:
    with explained("ask for less"):
        torch.empty(1 << 40)
except SodkitError as error:
    print(error)
"""


def test_full_memory() -> None:
    """In a process of its own, whose memory is limited."""
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("the memory is full: ")
    assert done.stdout.endswith("\nask for less\n")


@pytest.mark.parametrize(
    "raised",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("of numpy"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),  # of a fork
    ],
)
def test_full_memory_of_other_kinds(raised: Exception) -> None:
    with (
        pytest.raises(SodkitError, match=r"memory is full: .*\nask for less"),
        explained("ask for less"),
    ):
        raise raised


def test_a_worker_that_was_killed(
    recipe: Recipe, data: tuple[Annotations, Path], tmp_path: Path
) -> None:
    def kill(report: StepReport) -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)

    with pytest.raises(SodkitError, match=r"a worker process has gone.*(.|\n)*fewer --workers"):
        train(recipe, *data, tmp_path, device=torch.device("cpu"), workers=1, on_step=kill)


def test_the_end_of_a_worker_wherever_the_program_is() -> None:
    """Torch raises it when the signal comes, in the middle of a step; the loader raises its own."""
    said = r"a worker process has gone: .*\n.*fewer --workers; ask for less"
    for raised in (
        RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
        WorkerGoneError("EOFError: "),
    ):
        with pytest.raises(WorkerGoneError, match=said), explained("ask for less"):
            raise raised


@pytest.mark.parametrize(
    "raised",
    [
        RuntimeError("shapes do not fit"),
        RuntimeError("Caught RuntimeError in DataLoader worker process 0.\nshapes do not fit"),
        FileNotFoundError(2, "No such file or directory"),
        ConnectionResetError(104, "Connection reset by peer"),
        EOFError("of a file"),
    ],
)
def test_other_errors_stay_what_they_are(raised: Exception) -> None:
    with pytest.raises(type(raised)) as error, explained("ask for less"):
        raise raised
    assert error.value is raised
