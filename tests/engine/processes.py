"""Several processes of a run on this machine, as ``torchrun`` would start them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch
import torch.multiprocessing as mp

from sodkit.engine.connection import joined
from sodkit.engine.world import World


def in_processes(
    work: Callable[..., None], *arguments: object, error_file: Path | None = None
) -> None:
    """Call ``work(world, *arguments)`` in two connected processes; their errors are raised.

    ``error_file`` is where torchrun would have the first error written.
    """
    count = 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_one, args=(count, port, error_file, work, arguments), nprocs=count)


def _one(
    rank: int,
    count: int,
    port: int,
    error_file: Path | None,
    work: Callable[..., None],
    arguments: tuple[object, ...],
) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    if error_file is not None:
        os.environ["TORCHELASTIC_ERROR_FILE"] = str(error_file)
    with joined() as world:
        assert world == World(rank, count, rank, count)
        work(world, *arguments)
