"""The exemplar feature set (paper 3.2): the newest RoI features of high quality, class by class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sodkit.models.kernels.constants import constant


class Exemplars(nn.Module):
    """A ring buffer for each class, in half precision, part of the state_dict.

    Args:
        classes: number of classes.
        queue: exemplars kept a class.
        shape: of one feature, (C, rows, columns).

    Buffers: ``features`` (classes, queue, C * rows * columns) float16, ``pushed`` (classes,)
    int64: how many a class has ever received; the next one goes to ``pushed % queue``.
    """

    features: Tensor
    pushed: Tensor

    def __init__(self, classes: int, queue: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.queue = queue
        self.shape = shape
        size = math.prod(shape)
        self.register_buffer("features", torch.zeros(classes, queue, size, dtype=torch.float16))
        self.register_buffer("pushed", torch.zeros(classes, dtype=torch.int64))

    @property
    def counts(self) -> Tensor:
        """(classes,) exemplars held."""
        return self.pushed.clamp(max=self.queue)

    def slots(self) -> tuple[Tensor, Tensor]:
        """Return the class (E,) and the slot (E,) of every exemplar held, class by class."""
        held = torch.arange(self.queue, device=self.pushed.device) < self.counts[:, None]
        label, slot = torch.nonzero(held, as_tuple=True)
        return label, slot

    def get(self, label: Tensor, slot: Tensor) -> Tensor:
        """Return the features (N, C, rows, columns), float32, of classes and slots (N,)."""
        return self.features[label, slot].float().reshape(-1, *self.shape)

    @torch.no_grad()
    def push(self, features: Tensor, labels: Tensor) -> None:
        """Add features (N, *shape) of classes ``labels`` (N,) in order; they replace the oldest."""
        if len(labels) == 0:
            return
        # numbers are read once: each read waits for the device
        numbers = torch.cat([self.pushed, labels]).tolist()
        pushed, given = numbers[: len(self.pushed)], numbers[len(self.pushed) :]
        rows: dict[tuple[int, int], int] = {}  # of each (class, slot) the newest
        for row, label in enumerate(given):
            rows[label, pushed[label] % self.queue] = row
            pushed[label] += 1
        label, slot = (constant(column, labels) for column in zip(*rows, strict=True))
        new = features.detach()[constant(list(rows.values()), labels)]
        self.features[label, slot] = new.flatten(1).to(self.features.dtype)
        self.pushed.copy_(constant(pushed, self.pushed))
