"""The exponential moving average of the weights, which is what a run with it validates and keeps.

Parameters are averaged; buffers are those of the last step: batch statistics are averages already,
and exemplars are no numbers to average.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_FIRST = 10
"""Sets how soon the decay grows: at the beginning the average follows the weights closely."""


class Average:
    """Averages the trainable parameters of a detector.

    Args:
        detector: what is trained.
        decay: d in average = d * average + (1 - d) * parameter, once many updates are made.

    Attributes:
        tensors: the average by the names of the parameters.
    """

    def __init__(self, detector: nn.Module, decay: float) -> None:
        trained = {n: p for n, p in detector.named_parameters() if p.requires_grad}
        self._decay = decay
        self._parameters: list[Tensor] = list(trained.values())
        self.tensors: dict[str, Tensor] = {n: p.detach().clone() for n, p in trained.items()}

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take the parameters in after an update of them.

        Args:
            updates: how many were made before. The decay is at most (1 + updates) / (10 + updates),
                as in TensorFlow's ExponentialMovingAverage.
        """
        decay = min(self._decay, (1 + updates) / (_FIRST + updates))
        torch._foreach_lerp_(list(self.tensors.values()), self._parameters, 1 - decay)

    @torch.no_grad()
    def exchange(self) -> None:
        """Exchange the detector's parameters with their average."""
        for average, parameter in zip(self.tensors.values(), self._parameters, strict=True):
            trained = parameter.clone()
            parameter.copy_(average)
            average.copy_(trained)


@contextmanager
def averaged(average: Average | None) -> Iterator[None]:
    """Let the detector have its average as parameters while the block runs, if there is one."""
    if average is None:
        yield
        return
    average.exchange()
    try:
        yield
    finally:
        average.exchange()
