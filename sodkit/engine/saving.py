"""Saving the state of a run every so many steps and minutes, so that it goes on from there."""

from __future__ import annotations

import time
from pathlib import Path

import torch

from sodkit.engine import checkpoint as ckpt
from sodkit.engine.average import Average
from sodkit.engine.metadata import Progress, RunInfo
from sodkit.engine.optimizer import note_scale
from sodkit.engine.world import ALONE, World
from sodkit.models.detector import DetectorModule
from sodkit.settings import Schedule


class StateSaver:
    """Writes the state of a run.

    Args:
        path: the file.
        detector: what is trained.
        optimizer: its optimiser.
        scaler: its loss scale.
        schedule: after how many steps and minutes a state is due.
        run: what is trained on which data, which resuming compares.
        average: of the parameters, None: there is none.
        world: the processes; only the first one writes.
    """

    def __init__(
        self,
        path: Path,
        detector: DetectorModule,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        schedule: Schedule,
        run: RunInfo | None = None,
        average: Average | None = None,
        world: World = ALONE,
    ) -> None:
        self._writes = world.first
        self._path, self._run = path, run
        self._average = average
        self._detector, self._optimizer, self._scaler = detector, optimizer, scaler
        self._every, self._minutes = schedule.save_steps, schedule.save_minutes
        self._steps, self._saved = 0, time.monotonic()

    def save(self, done: Progress) -> None:
        """Write the state; ``done`` is how far the run is."""
        if not self._writes:
            return
        noted = note_scale(self._scaler, done)
        average = None if self._average is None else self._average.tensors
        ckpt.save_state(self._path, self._detector, self._optimizer, noted, self._run, average)
        self._steps, self._saved = 0, time.monotonic()

    def step(self, done: Progress) -> None:
        """Count one step, and write the state if it is due."""
        self._steps += 1
        passed = (time.monotonic() - self._saved) / 60
        if self._steps == self._every or (self._minutes is not None and passed >= self._minutes):
            self.save(done)
