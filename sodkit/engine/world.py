"""The processes of a run: one alone, or those that ``torchrun`` starts.

Every process computes its share, and the first one (rank 0) writes files and messages. Messages
between them go by ``torch.distributed``: by gloo from and to the CPU, by NCCL between GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sodkit.errors import UsageError

T = TypeVar("T")

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What ``torchrun`` says to each process."""


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run, and which of them this one is.

    Attributes:
        rank: number of this process.
        size: how many there are.
        local: number of this process among those of its machine.
        here: how many this machine has.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    here: int = 1

    @property
    def first(self) -> bool:
        """This is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def from_first(self, make: Callable[[], T]) -> T:
        """Call ``make`` in the first process, and return in every one what it returned there."""
        if self.size == 1:
            return make()
        box: list[T | None] = [make() if self.first else None]
        dist.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    def gathered(self, item: T) -> list[T]:
        """Return the items of all processes, by rank."""
        if self.size == 1:
            return [item]
        items: list[T | None] = [None] * self.size
        dist.all_gather_object(items, item)
        return items  # type: ignore[return-value]

    def to_first(self, item: T) -> list[T]:
        """Return the items of all processes, by rank, in the first one; nothing in the others."""
        if self.size == 1:
            return [item]
        items: list[T | None] | None = [None] * self.size if self.first else None
        dist.gather_object(item, items)
        return items or []  # type: ignore[return-value]

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes, in a tensor of its own."""
        return self._reduced(values, dist.ReduceOp.SUM)

    def most(self, values: Tensor) -> Tensor:
        """Return the maximum of each element over the processes, in a tensor of its own."""
        return self._reduced(values, dist.ReduceOp.MAX)

    def _reduced(self, values: Tensor, how: dist.ReduceOp.RedOpType) -> Tensor:
        values = values.detach().clone()
        if self.size > 1:
            dist.all_reduce(values, how)
        return values


ALONE = World()


def named_world(variables: Mapping[str, str]) -> World:
    """Return the world that ``torchrun``'s variables name; without them this process is alone.

    Args:
        variables: the environment.

    Raises:
        UsageError: some are missing, or are no numbers that go together.
    """
    if "WORLD_SIZE" not in variables or "RANK" not in variables:
        return ALONE
    try:
        rank, size, local, here = (int(variables[name]) for name in VARIABLES[:4])
        fits = 0 <= local < here <= size and 0 <= rank < size
    except (KeyError, ValueError):
        fits = False
    if not fits:
        given = ", ".join(f"{name}={variables.get(name)}" for name in VARIABLES[:4])
        raise UsageError(
            f"these variables of the environment do not go together: {given}",
            hint="start the processes by torchrun, or unset the variables",
        )
    return World(rank, size, local, here)


def share_statistics(world: World, detector: nn.Module) -> None:
    """Set the running statistics of ordinary batch norm to their mean over the processes.

    Each process norms by the statistics of its own images. The running ones are shared, so that
    every process validates the detector that the first one saves.
    """
    if world.size == 1:
        return
    buffers = [
        buffer
        for module in detector.modules()
        if isinstance(module, _BatchNorm) and module.training
        for buffer in (module.running_mean, module.running_var)
        if buffer is not None
    ]
    if not buffers:
        return
    means = world.sum(torch.cat(buffers)) / world.size
    parts = torch.split(means, [len(buffer) for buffer in buffers])
    for buffer, mean in zip(buffers, parts, strict=True):
        buffer.copy_(mean)
