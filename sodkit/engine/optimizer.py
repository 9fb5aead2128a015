"""The optimiser, its learning rate at every step, and the loss scale of float16."""

from __future__ import annotations

import math

import torch

from sodkit.engine.metadata import Progress
from sodkit.models.detector import DetectorModule, Grouped
from sodkit.settings import Schedule


def make_optimizer(detector: DetectorModule, schedule: Schedule) -> torch.optim.Optimizer:
    """Return the optimiser of the trainable parameters; some may have a rate of their own."""
    rates = detector.rates() if isinstance(detector, Grouped) else []
    own = {id(parameter) for _, parameters in rates for parameter in parameters}
    rest = [parameter for parameter in detector.parameters() if id(parameter) not in own]
    groups = [
        {"params": [p for p in parameters if p.requires_grad], "factor": factor}
        for factor, parameters in ((1.0, rest), *rates)
    ]
    groups = [group for group in groups if group["params"]]
    decay = schedule.weight_decay
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=schedule.lr, weight_decay=decay)
    momentum = schedule.momentum
    return torch.optim.SGD(groups, lr=schedule.lr, momentum=momentum, weight_decay=decay)


def set_rate(
    optimizer: torch.optim.Optimizer, schedule: Schedule, *, epoch: int, step: int, steps: int
) -> float:
    """Set and return the learning rate of ``step`` of ``steps``: warm-up, then its decay."""
    rate = schedule.lr
    if schedule.decay == "cosine":
        rate *= (1 + math.cos(math.pi * step / steps)) / 2
    else:
        passed = epoch if schedule.steps_in == "epochs" else step
        rate *= 0.1 ** sum(passed >= milestone for milestone in schedule.steps)
    if step < schedule.warmup:
        rate *= 1 - (1 - step / schedule.warmup) * (1 - schedule.warmup_factor)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


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
