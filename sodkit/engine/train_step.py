"""One training step: forward, backward, update; over all processes, in one or several parts."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sodkit.data.batches import Batch
from sodkit.engine.check_output import check_losses
from sodkit.engine.device import autocast
from sodkit.engine.parts import Counting, Together, padded_alike, split, statistics_kept, summed
from sodkit.engine.positives import count_positives
from sodkit.engine.world import ALONE, World, share_statistics
from sodkit.errors import ModelError, SodkitError
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.sampling import Draws, addressed
from sodkit.settings import Schedule
from sodkit.shares import share

_NO_GRADIENT = "Expected to have finished reduction"
"""In torch's message in the step after one in which a parameter got no gradient."""


class DivergedError(SodkitError):
    """A loss is not finite.

    Args:
        what: which one, and on which images.
        hint: what to do.
        mine: this process's losses by name if it is the one whose batch is to be kept, else None.
    """

    def __init__(self, what: str, hint: str, mine: dict[str, float] | None) -> None:
        super().__init__(what, hint=hint)
        self.mine = mine


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a step works with.

    Attributes:
        detector: what is trained.
        optimizer: its optimiser.
        scaler: its loss scale.
        schedule: precision, clipping, parts.
        seed: of all that is drawn.
        world: the processes.
        module: the detector, or in several processes its ``DistributedDataParallel``.
        positives: of the parts of the last step, see ``positives.count_positives``.
    """

    detector: DetectorModule
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    schedule: Schedule
    seed: int
    world: World
    module: nn.Module
    positives: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        detector: DetectorModule,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        schedule: Schedule,
        seed: int,
        world: World = ALONE,
    ) -> Trained:
        """Return what a step works with; the first process's weights go to all."""
        module = detector if world.size == 1 else _distributed(detector)
        return cls(detector, optimizer, scaler, schedule, seed, world, module)


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What a process has of a step.

    Attributes:
        batch: its images, on the device; a stand-in where there are fewer images than processes.
        number: of the step.
        images: in all, over the processes.
    """

    batch: Batch
    number: int
    images: int

    def rows(self, world: World) -> range:
        """Return the places of its images among those of the step; none of a stand-in."""
        return share(self.images, world.rank, world.size)

    def draws(self, trained: Trained, first: int) -> Draws:
        """Return what is drawn by from image number ``first`` of the process on."""
        place = self.rows(trained.world).start + first
        return seeded(trained.seed, self.number, place)


def train_step(trained: Trained, mine: Share) -> dict[str, float]:
    """Forward, backward, update.

    Returns:
        the losses of all images of the step, and their sum as ``loss``.

    Raises:
        DivergedError: a loss is not finite; the message names the images.
    """
    optimizer, scaler, clip = trained.optimizer, trained.scaler, trained.schedule.clip
    optimizer.zero_grad(set_to_none=True)
    trained.positives.clear()
    losses = _backward(trained, mine)
    values = torch.stack([*losses.values(), torch.stack([*losses.values()]).sum()])
    means = trained.world.sum(values) / trained.world.size
    names = [*losses, "loss"]
    named = dict(zip(names, means.tolist(), strict=True))
    _check_finite(named, names, values, mine.batch, trained.world)
    if clip is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(_parameters(optimizer), clip)
    scaler.step(optimizer)
    scaler.update()
    share_statistics(trained.world, trained.detector)
    return named


def _distributed(detector: DetectorModule) -> nn.Module:
    """Return the detector such that gradients are means over the processes.

    On a CPU each gradient is summed by itself. In common buffers its place, and with it the order
    of the sum, would change after the first step of a process: so a run that was resumed would
    not end with the same bits.
    """
    on_cpu = next(detector.parameters()).device.type == "cpu"
    with warnings.catch_warnings():  # newer versions of torch have another name for it
        warnings.filterwarnings("ignore", "`broadcast_buffers`", FutureWarning)
        return DistributedDataParallel(
            detector, broadcast_buffers=False, bucket_cap_mb=0 if on_cpu else None
        )


def _backward(trained: Trained, mine: Share) -> dict[str, Tensor]:
    """Add the gradients of the images up; return this process's losses, without gradients."""
    world, parts = trained.world, trained.schedule.accumulate
    if world.size == 1 and parts == 1:
        return _backward_of(trained, mine.batch, mine, 0)
    idle = len(mine.rows(world)) == 0
    batch = padded_alike(world, mine.batch)
    divided = split(batch, parts)
    counts = _counted(trained, mine, divided, idle) if parts > 1 else None
    step = Together(world, idle, counts)
    sums: dict[str, Tensor] = {}
    for number, (first, part) in enumerate(divided):
        step.asked, step.last = 0, number + 1 == len(divided)
        with _unsynchronised(trained.module, step.last):
            losses = _backward_of(trained, replace(part, step=step), mine, first)
        sums = {name: sums.get(name, 0) + value for name, value in losses.items()}
    return sums


def _unsynchronised(module: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Keep the gradients in this process until the last part."""
    if last or not isinstance(module, DistributedDataParallel):
        return nullcontext()
    return module.no_sync()


def _backward_of(trained: Trained, batch: Batch, mine: Share, first: int) -> dict[str, Tensor]:
    """Add the gradients of a batch up, whose first image is number ``first`` of the process."""
    draws = mine.draws(trained, first)
    matches: list[Tensor] = []
    batch = replace(batch, on_match=matches.append)
    with autocast(batch.images.device, trained.schedule.precision):
        losses = check_losses(trained.detector, _forward(trained, batch, draws))
        losses = _weighted(losses, batch, mine, trained.world)
        total = torch.stack([value.float() for value in losses.values()]).sum()
    trained.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
    counts = count_positives(batch, matches)
    if counts is not None:
        trained.positives.append(counts)
    return {name: value.detach().float() for name, value in losses.items()}


def _forward(trained: Trained, batch: Batch, draws: Draws) -> object:
    try:
        return trained.module(batch, draws)
    except RuntimeError as error:
        if _NO_GRADIENT not in str(error):
            raise
        raise ModelError(
            "a parameter that is trained got no gradient, which several processes cannot add up",
            where=type(trained.detector).__name__,
            hint="use it in every loss, or freeze it by schedule.freeze",
        ) from error


def _weighted(
    losses: dict[str, Tensor], batch: Batch, mine: Share, world: World
) -> dict[str, Tensor]:
    """Return losses such that their sum over parts, and mean over processes, is the step's.

    A detector that divides by ``batch.step.total`` has seen to that. Of one from outside that does
    not, the losses are taken as means over the images.
    """
    if not isinstance(batch.step, Together):
        return losses
    weight = float(not batch.step.idle)
    if batch.step.asked == 0:
        weight *= len(batch.sizes) * world.size / mine.images
    return losses if weight == 1.0 else {name: value * weight for name, value in losses.items()}


@torch.no_grad()
def _counted(
    trained: Trained, mine: Share, parts: Sequence[tuple[int, Batch]], idle: bool
) -> list[int | Tensor]:
    """Return what the detector counts in all parts of all processes, in the order it counts."""
    found: list[list[int | Tensor]] = []
    with statistics_kept(trained.detector):
        for first, part in parts:
            step = Counting()
            with autocast(part.images.device, trained.schedule.precision):
                trained.detector(replace(part, step=step), mine.draws(trained, first))
            found.append(step.counts)
    sums = [sum(each) * (not idle) for each in zip(*found, strict=True)]
    return [summed(trained.world, count) for count in sums]


def seeded(seed: int, step: int, place: int = 0) -> Draws:
    """Return what a part's sampling is drawn by, and seed the generators of the whole process.

    Our detectors draw by nothing else; one from outside may have dropout.

    Args:
        seed: of the run.
        step: number of the step.
        place: of the part's first image among those of the step.
    """
    number = addressed(seed, step, place)
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)
    return Draws(seed, step, place)


def _parameters(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def _check_finite(
    losses: dict[str, float], names: Sequence[str], mine: Tensor, batch: Batch, world: World
) -> None:
    """Raise naming the images if a loss is NaN or infinite.

    Args:
        losses: of the step.
        names: of ``mine``; a detector from outside may call a loss as we call the sum.
        mine: losses of this process.
        batch: its images.
        world: the processes, all of which have the same losses of the step.
    """
    bad = [name for name, value in losses.items() if not np.isfinite(value)]
    if bad:
        ids = batch.image_ids if not bool(torch.isfinite(mine).all()) else ()
        parts = world.gathered(ids)
        named = [number for part in parts for number in part]
        first = next((rank for rank, part in enumerate(parts) if part), 0)
        own = dict(zip(names, mine.tolist(), strict=True))
        raise DivergedError(
            f"training diverged: {', '.join(bad)} is not finite on the images with ids "
            f"{', '.join(map(str, named))}",
            "lower schedule.lr, lengthen schedule.warmup, or look at these images' boxes",
            own if world.rank == first else None,
        )
