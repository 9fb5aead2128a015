"""What a run reports as it goes on, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.data.records import Category
from sodkit.engine.log import Row
from sodkit.engine.sinks import Sink
from sodkit.models.detector import DetectorModule
from sodkit.settings import Recipe
from sodkit.table_text import number

Validate = Callable[[DetectorModule], dict[str, float | None]]
"""Evaluates a detector (in evaluation mode) and returns metrics by name, ``AP`` among them.

All of them go to ``metrics.csv``.
"""


@dataclass(frozen=True, slots=True)
class StartReport:
    """What is reported before the first step.

    Attributes:
        recipe: what is trained.
        device: where.
        out: the run's folder.
        images: how many are trained on.
        objects: how many of their objects are learnt.
        ignored: how many objects and regions are ignored.
        epoch: epochs done already.
        steps: of one epoch.
        step: steps done already of the epoch after those.
        processes: how many train together.
        categories: the classes, by label.
    """

    recipe: Recipe
    device: torch.device
    out: Path
    images: int
    objects: int
    ignored: int
    epoch: int
    steps: int
    step: int = 0
    processes: int = 1
    categories: tuple[Category, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<StartReport of {self.recipe.name}: {self.images} images, {self.objects} objects, "
            f"{len(self.categories)} classes, {self.device}>"
        )


@dataclass(frozen=True, slots=True, eq=False)
class StepReport:
    """What is reported after every step.

    Attributes:
        epoch: epochs done.
        epochs: of the run.
        step: number of the step in the run, from 0 on.
        steps: of the run.
        losses: by name, their sum as ``loss``.
        lr: learning rate.
        images: how many the step had, over all processes.
        seconds: that it took, with waiting for its images.
        wait: seconds of these in which this process waited for its images.
        positives: (2, sizes) int64 of this process, on the device: objects, and their positive
            anchors, by size class (``SIZE_NAMES``); None: the detector does not say.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    losses: dict[str, float]
    lr: float
    images: int = 0
    seconds: float = 0.0
    wait: float = 0.0
    positives: Tensor | None = None

    def __repr__(self) -> str:
        loss = number(self.losses.get("loss"), ".4g") or "undefined"
        return f"<StepReport: step {self.step} of {self.steps}, loss {loss}, {self.images} images>"


@dataclass(frozen=True, slots=True, eq=False)
class Hooks:
    """What is called as a run goes on.

    Attributes:
        start: before the first step.
        batch: before every step with its batch of bytes, on the CPU.
        step: after every step.
        epoch: after every epoch, with its row of ``metrics.csv`` and ``seconds``.
        best: before the detector is kept as the best so far.
        say: with a sentence for people.
        sinks: get the numbers of the log.
    """

    start: Callable[[StartReport], None]
    batch: Callable[[Batch], None]
    step: Callable[[StepReport], None]
    epoch: Callable[[Row], None]
    best: Callable[[], None]
    say: Callable[[str], None]
    sinks: Sequence[Sink] = ()
