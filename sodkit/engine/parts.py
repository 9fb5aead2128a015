"""A training step whose images are divided over processes and parts, as one batch would train it.

Each loss is a sum over images divided by a count: of positives, samples or images. The counts are
summed over all parts and processes before anything is divided by them (``data/step.py``). With
several parts they are known only after all have been through the detector. So the parts go through
it twice: once without gradients to count, and once to train.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sodkit.data.batches import Batch
from sodkit.engine.world import World
from sodkit.shares import share

Count = int | Tensor


@dataclass(slots=True, eq=False)
class Counting:
    """A step whose counts are noted, to be known when it is gone through again."""

    counts: list[Count] = field(default_factory=list)

    def total(self, count: Count, least: float = 1) -> float | Tensor:
        """Note the count; what is divided by the result is not used."""
        self.counts.append(count)
        return least

    def rows(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Keep nothing."""
        return features[:0], labels[:0]


@dataclass(slots=True, eq=False)
class Together:
    """A step over all processes.

    Args:
        world: the processes.
        idle: the batch is a stand-in and counts nothing: the step has no image for this process.
        counts: what is known already, in the order in which it is asked for; None: it is summed
            over the processes as it is asked for.

    Attributes:
        asked: how often a count was asked for.
        last: the batch is the last part of the step.
    """

    world: World
    idle: bool = False
    counts: Sequence[Count] | None = None
    asked: int = 0
    last: bool = True
    _kept: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def total(self, count: Count, least: float = 1) -> float | Tensor:
        """Return the count over the whole step, divided by the number of processes."""
        if self.counts is None:
            count = summed(self.world, count * (not self.idle))
        else:
            count = self.counts[self.asked]
        self.asked += 1
        if isinstance(count, Tensor):
            return count.clamp(min=least) / self.world.size
        return max(least, count) / self.world.size

    def rows(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows of all parts and processes at the last part, none before."""
        if not self.idle:
            self._kept.append((features, labels))
        if not self.last:
            return features[:0], labels[:0]
        features, labels = (
            torch.cat([part[i] for part in self._kept] or [none])
            for i, none in enumerate((features[:0], labels[:0]))
        )
        return _of_all(self.world, features, labels)


def summed(world: World, count: Count) -> Count:
    """Return a count, or (N,) of them, summed over the processes."""
    if isinstance(count, Tensor):
        return world.sum(count)
    return int(world.sum(torch.tensor(count)))


def _of_all(world: World, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of all processes, rank by rank; N may differ from process to process."""
    if world.size == 1:
        return features, labels
    counts = [0] * world.size
    counts[world.rank] = len(labels)
    counts = world.sum(torch.tensor(counts)).tolist()
    if not any(counts):
        return features, labels
    return _gathered(features, counts), _gathered(labels, counts)


def _gathered(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the rows of all processes; ``counts`` of them each, sent padded to the most."""
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def split(batch: Batch, parts: int) -> list[tuple[int, Batch]]:
    """Return a batch in parts of as many images, each with the number of its first image."""
    count = len(batch.sizes)
    parts = min(parts, count)
    rows = [share(count, part, parts) for part in range(parts)]
    return [(images.start, batch.part(images)) for images in rows]


def padded_alike(world: World, batch: Batch) -> Batch:
    """Return a batch padded to the largest size that any process has in this step."""
    if world.size == 1:
        return batch
    height, width = world.most(torch.tensor(batch.padded)).tolist()
    return batch.padded_to(height, width)


@contextmanager
def statistics_kept(detector: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norm as they were before the block."""
    buffers = [
        buffer
        for module in detector.modules()
        if isinstance(module, _BatchNorm) and module.training
        for buffer in module.buffers()
    ]
    before = [buffer.clone() for buffer in buffers]
    yield
    for buffer, value in zip(buffers, before, strict=True):
        buffer.copy_(value)
