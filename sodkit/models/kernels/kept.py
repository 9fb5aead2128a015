"""Tensors that follow from sizes alone, made once and kept by the module that uses them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, ParamSpec, Self, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

MOST = 8
"""With sizes drawn for every step (``input.scale_range``) nearly all are new: more would be kept
for nothing."""


class Kept(Generic[P, T]):
    """A function that keeps what it made last, by its arguments: anchors, points, places of taps.

    An attribute of a module that is neither parameter nor buffer, so it is in no checkpoint, moves
    to no device and is not copied with the module: the device is an argument like any other.
    Whoever gets a tensor must not change it.

    Args:
        make: makes it; all arguments are hashable.
        most: results that are kept; the one not used for the longest time goes first.
    """

    def __init__(self, make: Callable[P, T], most: int = MOST) -> None:
        self._make, self._most = make, most
        self._results: OrderedDict[object, T] = OrderedDict()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``make`` returns for these arguments."""
        if torch.compiler.is_compiling():  # a graph has its own constants; these have no values yet
            return self._make(*args, **kwargs)
        key = (args, tuple(sorted(kwargs.items())))
        if key not in self._results:
            # Made while detecting it would be an inference tensor, of no use for training.
            with torch.inference_mode(False), torch.no_grad():
                self._results[key] = self._make(*args, **kwargs)
        self._results.move_to_end(key)
        while len(self._results) > self._most:
            self._results.popitem(last=False)
        return self._results[key]

    def __len__(self) -> int:
        return len(self._results)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return type(self)(self._make, self._most)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self._make, self._most)
