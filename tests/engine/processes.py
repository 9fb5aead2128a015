"""Several processes of a run on this machine, as ``torchrun`` would start them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import torch
import torch.multiprocessing as mp

from sodkit.engine.world import World, here, joined


def in_processes(work: Callable[..., None], *arguments: object, count: int = 2) -> None:
    """Call ``work(world, *arguments)`` in so many connected processes; their errors are raised."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_one, args=(count, port, work, arguments), nprocs=count)


def _one(
    rank: int, count: int, port: int, work: Callable[..., None], arguments: tuple[object, ...]
) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    world = here()
    assert world == World(rank, count, rank, count)
    with joined(world):
        work(world, *arguments)
