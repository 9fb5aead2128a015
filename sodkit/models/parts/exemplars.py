"""The exemplar feature set (paper 3.2): the newest RoI features of high quality, class by class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


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

    def held(self) -> Tensor:
        """Return (classes, queue) bool: there is an exemplar in this slot."""
        return torch.arange(self.queue, device=self.pushed.device) < self.counts[:, None]

    def get(self, label: Tensor, slot: Tensor) -> Tensor:
        """Return the features (N, C, rows, columns), float32, of classes and slots (N,)."""
        return self.features[label, slot].float().reshape(-1, *self.shape)

    def drop(self) -> None:
        """Give all exemplars and their memory back: for detecting, not for further training."""
        self.features = self.features[:, :0].clone()
        self.pushed = torch.zeros_like(self.pushed)

    @torch.no_grad()
    def push(self, features: Tensor, labels: Tensor) -> None:
        """Add features (N, *shape) of classes ``labels`` (N,) in order; they replace the oldest."""
        if len(labels) == 0:
            return
        of_class = labels[:, None] == torch.arange(len(self.pushed), device=labels.device)
        turn = of_class.cumsum(0).gather(1, labels[:, None])[:, 0] - 1  # among its class, from 0
        given = of_class.sum(0)
        slot = (self.pushed[labels] + turn) % self.queue
        # Of several for one slot all write the newest: no order of writing is defined.
        newest = turn + (given[labels] - 1 - turn) // self.queue * self.queue
        row = turn.new_zeros(len(given), len(labels))
        row[labels, turn] = torch.arange(len(labels), device=labels.device)
        new = features.detach().flatten(1).to(self.features.dtype)
        self.features[labels, slot] = new[row[labels, newest]]
        self.pushed += given
