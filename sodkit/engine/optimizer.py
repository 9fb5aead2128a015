"""The optimiser, its learning rate at every step, and the loss scale of float16."""

from __future__ import annotations

import math

import torch

from sodkit.engine.metadata import Progress
from sodkit.models.detector import DetectorModule, Grouped, ParameterGroup
from sodkit.settings import Schedule


def make_optimizer(detector: DetectorModule, schedule: Schedule) -> torch.optim.Optimizer:
    """Return the optimiser of the trainable parameters.

    Some may have a learning rate or weight decay of their own.
    """
    own = detector.groups() if isinstance(detector, Grouped) else []
    named = {id(parameter) for group in own for parameter in group.parameters}
    rest = ParameterGroup([p for p in detector.parameters() if id(p) not in named])
    groups = [
        {
            "params": [p for p in group.parameters if p.requires_grad],
            "factor": group.rate,
            "weight_decay": schedule.weight_decay * group.decay,
        }
        for group in (rest, *own)
    ]
    groups = [group for group in groups if group["params"]]
    if schedule.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=schedule.lr)
    return torch.optim.SGD(groups, lr=schedule.lr, momentum=schedule.momentum)


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
