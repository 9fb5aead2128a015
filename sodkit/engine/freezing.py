"""Parts of a detector that are not trained: ``schedule.freeze``."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sodkit.data.naming import listed
from sodkit.errors import UsageError


def freeze(detector: nn.Module, patterns: Sequence[str]) -> None:
    """Let parameters be trained no more.

    Args:
        detector: before its optimiser is made.
        patterns: names of parameters or of modules, ``*`` stands for anything.

    Raises:
        UsageError: a pattern that is no name here, or nothing is left to train.
    """
    named = dict(detector.named_parameters())
    for pattern in patterns:
        for name in parameters_like(detector, pattern, "schedule.freeze"):
            named[name].requires_grad_(False)
    if patterns and not any(parameter.requires_grad for parameter in named.values()):
        raise UsageError("nothing is left to train", where="schedule.freeze")


def parameters_like(detector: nn.Module, pattern: str, where: str) -> list[str]:
    """Return the names of the parameters that a pattern names, or whose module it names.

    Args:
        detector: whose parameters.
        pattern: ``*`` stands for anything.
        where: the setting that has it, for the message.

    Raises:
        UsageError: there is none.
    """
    named = [name for name, _ in detector.named_parameters()]
    chosen = [name for name in named if _is_named(name, pattern)]
    if not chosen:
        parts = dict.fromkeys(name.partition(".")[0] for name in named)
        raise UsageError(
            f"no parameter has a name like '{pattern}'",
            where=where,
            hint=f"the parts of the detector are {listed(parts, 20)}; * stands for anything",
        )
    return chosen


def set_training(detector: nn.Module, frozen: Sequence[str]) -> None:
    """Set training mode; frozen batch norms keep their statistics."""
    detector.train()
    if not frozen:
        return
    for name, module in detector.named_modules():
        if isinstance(module, _BatchNorm) and any(_is_named(f"{name}.weight", p) for p in frozen):
            module.eval()


def _is_named(name: str, pattern: str) -> bool:
    """Return whether a pattern names a parameter or a module that it belongs to."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
