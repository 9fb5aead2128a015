"""The exponential moving average of the weights, which is what a run with it validates and keeps.

Parameters are averaged; buffers are those of the last step: batch statistics are averages already,
and exemplars are no numbers to average. ``schedule.ema_statistics`` averages the statistics, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_FIRST = 10
"""Sets how soon the decay grows: at the beginning the average follows the weights closely."""


class Average:
    """Averages the trainable parameters of a detector.

    Args:
        detector: what is trained.
        decay: d in average = d * average + (1 - d) * parameter, once many updates are made.
        warmup: updates in which what 1 - d is above its last value falls by e; None: see
            ``decay_at``.
        statistics: average the running mean and variance of batch norms, too.

    Attributes:
        tensors: the average by the names of the parameters, and of the statistics.
    """

    def __init__(
        self,
        detector: nn.Module,
        decay: float,
        *,
        warmup: int | None = None,
        statistics: bool = False,
    ) -> None:
        trained: dict[str, Tensor] = {
            n: p for n, p in detector.named_parameters() if p.requires_grad
        }
        if statistics:
            trained |= _statistics(detector)
        self._decay, self._warmup = decay, warmup
        self._parameters: list[Tensor] = list(trained.values())
        self.tensors: dict[str, Tensor] = {n: p.detach().clone() for n, p in trained.items()}

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take the parameters in after an update of them.

        Args:
            updates: how many were made before.
        """
        decay = decay_at(self._decay, updates, self._warmup)
        torch._foreach_lerp_(list(self.tensors.values()), self._parameters, 1 - decay)

    @torch.no_grad()
    def exchange(self) -> None:
        """Exchange the detector's parameters with their average."""
        for average, parameter in zip(self.tensors.values(), self._parameters, strict=True):
            trained = parameter.clone()
            parameter.copy_(average)
            average.copy_(trained)


def decay_at(decay: float, updates: int, warmup: int | None) -> float:
    """Return the decay after so many updates.

    Args:
        decay: in the end.
        updates: made before.
        warmup: None: at most (1 + updates) / (10 + updates), as in TensorFlow's
            ExponentialMovingAverage; a number: 1 - d begins at 1 and falls to its end by e every so
            many updates (mmdetection's YOLOX).
    """
    if warmup is None:
        return min(decay, (1 + updates) / (_FIRST + updates))
    return decay * (1 - math.exp(-(1 + updates) / warmup))


def _statistics(detector: nn.Module) -> dict[str, Tensor]:
    """Return the running means and variances of batch norms, by name."""
    norms = [(name, m) for name, m in detector.named_modules() if isinstance(m, _BatchNorm)]
    return {
        f"{name}.{key}": value
        for name, norm in norms
        for key, value in norm.named_buffers()
        if value.is_floating_point()
    }


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
