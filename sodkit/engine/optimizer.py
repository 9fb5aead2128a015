"""The optimiser, its learning rate at every step, and the loss scale of float16."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from sodkit.engine.freezing import parameters_like
from sodkit.engine.metadata import Progress
from sodkit.models.detector import DetectorModule, Grouped
from sodkit.settings import Schedule
from sodkit.settings.recipe import Group

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


def make_optimizer(detector: DetectorModule, schedule: Schedule) -> torch.optim.Optimizer:
    """Return the optimiser of the trainable parameters.

    Some may have a learning rate or weight decay of their own: by the detector
    (``Grouped.groups``), by ``schedule.groups`` and ``schedule.decay_norms``; factors multiply.

    Raises:
        UsageError: a group of the schedule names nothing.
    """
    factors = _factors(detector, schedule)
    alike: dict[tuple[float, float], list[nn.Parameter]] = {(1.0, 1.0): []}
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            alike.setdefault(factors[name], []).append(parameter)
    groups = [
        {"params": members, "factor": rate, "weight_decay": schedule.weight_decay * decay}
        for (rate, decay), members in alike.items()
        if members
    ]
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=schedule.lr)
    return torch.optim.SGD(
        groups, lr=schedule.lr, momentum=schedule.momentum, nesterov=schedule.nesterov
    )


def _factors(detector: DetectorModule, schedule: Schedule) -> dict[str, tuple[float, float]]:
    """Return the factors on learning rate and weight decay of every parameter, by name."""
    own = detector.groups() if isinstance(detector, Grouped) else []
    of_detector = {id(p): (group.rate, group.decay) for group in own for p in group.parameters}
    chosen = [(set(_named(detector, group)), group) for group in schedule.groups]
    spared = set() if schedule.decay_norms else _norms_and_biases(detector)
    factors = {}
    for name, parameter in detector.named_parameters():
        rate, decay = of_detector.get(id(parameter), (1.0, 1.0))
        for names, group in chosen:
            if name in names:
                rate, decay = rate * group.rate, decay * group.decay
        factors[name] = (rate, 0.0 if name in spared else decay)
    return factors


def _named(detector: nn.Module, group: Group) -> Iterator[str]:
    """Yield the names of a group's parameters.

    Raises:
        UsageError: there is none of one of its names.
    """
    for pattern in group.names:
        yield from parameters_like(detector, pattern, "schedule.groups")


def _norms_and_biases(detector: nn.Module) -> set[str]:
    """Return the names of the parameters of norms, and of the biases of all layers."""
    return {
        f"{name}.{key}" if name else key
        for name, module in detector.named_modules()
        for key, _ in module.named_parameters(recurse=False)
        if isinstance(module, _NORMS) or key == "bias" or key.endswith("_bias")
    }


def set_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule, *, epoch: int, step: int, steps: int
) -> float:
    """Set and return the learning rate of ``step`` of ``steps``: warm-up, then its decay."""
    an_epoch = steps // schedule.epochs
    warmup = schedule.warmup * (an_epoch if schedule.warmup_in == "epochs" else 1)
    rate = schedule.lr
    if schedule.decay == "steps":
        passed = epoch if schedule.steps_in == "epochs" else step
        rate *= 0.1 ** sum(passed >= milestone for milestone in schedule.steps)
    else:
        began, done = (0, step) if schedule.decay == "cosine" else (warmup, step + 1)
        whole = max(1, steps - began - schedule.constant_epochs * an_epoch)
        part = min(max(done - began, 0) / whole, 1.0)
        end = schedule.final_rate
        rate *= end + (1 - end) * (1 + math.cos(math.pi * part)) / 2
    if step < warmup:
        rate *= _warming(schedule, step, warmup)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def _warming(schedule: Schedule, step: int, warmup: int) -> float:
    """Return the factor on the learning rate in a step of the warm-up."""
    if schedule.warmup_shape == "square":
        return ((step + 1) / warmup) ** 2
    return 1 - (1 - step / warmup) * (1 - schedule.warmup_factor)


def make_scaler(schedule: Schedule, device: torch.device) -> torch.amp.GradScaler:
    """Return the dynamic loss scale of float16; on other types and devices it does nothing."""
    enabled = schedule.precision == "float16" and device.type == "cuda"
    return torch.amp.GradScaler(device.type, enabled=enabled)


def restore_scale(scaler: torch.amp.GradScaler, done: Progress) -> torch.amp.GradScaler:
    """Return the scaler as it was when ``done`` was noted."""
    if scaler.is_enabled():
        state = scaler.state_dict()
        scaler.load_state_dict(state | {"scale": done.scale, "_growth_tracker": done.growth})
    return scaler


def note_scale(scaler: torch.amp.GradScaler, done: Progress) -> Progress:
    """Return ``done`` with the scaler's state; a scaler that does nothing leaves it alone."""
    if not scaler.is_enabled():
        return done
    state = scaler.state_dict()
    return done.model_copy(
        update={"scale": float(state["scale"]), "growth": int(state["_growth_tracker"])}
    )
