"""Connecting the processes of a run, and ending all of them when one ends.

``torchrun`` ends all processes once one has ended. What went wrong is said once: by the process
that it went wrong in, or, where that was killed and cannot say it, by the first that misses it.
"""

from __future__ import annotations

import atexit
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from sodkit.engine.world import World, named_world
from sodkit.errors import ReportedError, SodkitError

_FAILED, _SAID = "sodkit/failed", "sodkit/said"
"""Keys of the store that all processes share: how many have failed; the first one has said why."""

_PATIENCE = timedelta(seconds=10)
"""How long a process waits for the first one that failed to say why."""

_LOST = ("gloo", "NCCL", "TCPStore", "Broken pipe", "Connection reset", "Connection closed")
"""One of these is in torch's messages when another process does not answer any more.

The text decides here, as gloo raises a plain RuntimeError: it has no type for a lost process.
"""


@contextmanager
def joined() -> Iterator[World]:
    """Connect the processes that ``torchrun`` has started while the block runs.

    Without ``torchrun`` the process is alone.

    Raises:
        UsageError: torchrun's variables do not go together.
        SodkitError: another process has ended.
        ReportedError: in place of an error that another process reports.
    """
    world = named_world(os.environ)
    if world.size == 1:
        yield world
        return
    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    store, _, _ = next(rendezvous("env://"))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if gpus else "gloo",
        store=PrefixStore("sodkit", store), rank=world.rank, world_size=world.size,
    )  # fmt: skip
    try:
        yield world
        world.wait()  # the first one may host the store
    except BaseException as error:
        _say_once(error, store)
    # not after an error: the other processes may wait for this one
    dist.destroy_process_group()


def _say_once(error: BaseException, store: Store) -> None:
    """Raise the error in the first process that fails, and ``ReportedError`` in the others."""
    lost = _is_lost(error)
    try:
        mine = store.add(_FAILED, 1) == 1
    except dist.DistError:  # the store has ended with its process
        raise ReportedError(_code(error)) from error
    if not mine:
        with suppress(dist.DistError):
            store.wait([_SAID], _PATIENCE)
        raise ReportedError(_code(error)) from error
    atexit.register(_has_said, store)
    if lost:
        raise _for_summary(
            SodkitError(
                "another process of the run was killed, or its machine is gone",
                hint="the memory may have been full; torchrun's summary names the process",
            )
        ) from error
    raise _for_summary(error)


def _for_summary(error: BaseException) -> BaseException:
    """Leave the error's text where torchrun looks for it: its summary ends with it.

    In the form of ``torch.distributed.elastic``'s own ``record``, which would leave a traceback.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is not None:
        text = str(error) or type(error).__name__
        found = {"message": text, "extraInfo": {"timestamp": str(int(time.time()))}}
        with suppress(OSError):  # the message itself is printed all the same
            Path(path).write_text(json.dumps({"message": found}))
    return error


def _has_said(store: Store) -> None:
    with suppress(dist.DistError):
        store.set(_SAID, "1")


def _is_lost(error: BaseException) -> bool:
    """Return whether an error says that another process does not answer any more."""
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _LOST)


def _code(error: BaseException) -> int:
    """Return the exit code of an error that another process reports."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.exit_code if isinstance(error, SodkitError) else SodkitError.exit_code
