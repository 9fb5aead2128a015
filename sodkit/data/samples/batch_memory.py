"""Memory of batches that is used again, by the process that reads images or by its worker.

Four patches of 1200 px are 17 MB. Such memory comes fresh from the system each time, which clears
it page by page when it is first written: that takes longer than resizing the images into it, and in
shared memory twice as long. So a few pieces are kept and go round. A piece is free again when
nothing refers to the batch that was handed out in it, so a batch stays what it is for as long as
anyone has it; where no piece is free, there is new memory.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from sodkit.data.batches import Batch

PIECES = 4
"""For each worker: torch lets it prepare two batches, it fills a third, and training has one."""

IN_USE = 1


class Pieces:
    """The pieces of one process.

    Args:
        marks: (N,) uint8, ``IN_USE`` of the pieces that are in use; in shared memory if another
            process has the batches.
        new: makes memory of so many bytes, as uint8.
    """

    def __init__(self, marks: Tensor, new: Callable[[int], Tensor]) -> None:
        self._marks, self._new = marks, new
        self._memory: dict[int, Tensor] = {}

    def free(self) -> int | None:
        """Return the number of a free piece, if there is one."""
        marks = self._marks.tolist()
        return next((number for number, mark in enumerate(marks) if mark != IN_USE), None)

    def memory(self, number: int | None, size: tuple[int, ...]) -> Tensor:
        """Return a uint8 tensor of ``size`` in a piece that is free, or in new memory."""
        count = math.prod(size)
        if number is None:
            return self._new(count).view(size)
        piece = self._memory.get(number)
        if piece is None or len(piece) < count:
            piece = self._memory[number] = self._new(count)
        return piece[:count].view(size)

    def use(self, number: int | None) -> None:
        """Mark a piece as in use."""
        if number is not None:
            self._marks[number] = IN_USE


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A batch on its way from where it was read.

    Attributes:
        batch: its images are in a piece, or pinned.
        worker: whose piece it is.
        piece: its number, None: none.
        images: those in the piece.
    """

    batch: Batch
    worker: int
    piece: int | None
    images: Tensor

    def pin_memory(self) -> Self:
        """Copy the batch to pinned memory: torch's loader calls it where there is a GPU."""
        return replace(self, batch=self.batch.pin_memory())


class Returns:
    """Where batches arrive, and their pieces become free.

    Args:
        marks: (workers, N) uint8 of the pieces of all workers.
    """

    def __init__(self, marks: Tensor) -> None:
        self._marks = marks
        # A worker's memory stays mapped: to map it again costs as much as new memory.
        self._mapped: dict[tuple[int, int], Tensor] = {}

    def batch(self, delivery: Delivery) -> Batch:
        """Return the batch; with the last reference to its images their piece becomes free."""
        batch, piece = delivery.batch, delivery.piece
        if piece is None:
            return batch
        self._mapped[delivery.worker, piece] = delivery.images
        marks = self._marks[delivery.worker]
        if batch.images is not delivery.images:  # it was copied
            marks[piece] = 0
            return batch
        return replace(batch, images=_watched(batch.images, lambda: marks[piece].zero_()))


def _watched(tensor: Tensor, ended: Callable[[], object]) -> Tensor:
    """Return the same memory as a tensor; ``ended`` is called when no tensor has it any more.

    A tensor made from an array holds the array as long as its memory is used, by views too.
    """
    array = tensor.numpy()
    weakref.finalize(array, ended).atexit = False
    return torch.from_numpy(array)
