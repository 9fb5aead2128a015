"""When the state of a run is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sodkit.engine.checkpoint import load_state
from sodkit.engine.metadata import Progress
from sodkit.engine.saving import StateSaver
from sodkit.settings import Recipe, Schedule


def saved_at(path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> list[int]:
    """Return the steps after which the state is written, at 20 s a step."""
    detector: Any = nn.Linear(2, 1)
    optimizer, scaler = torch.optim.SGD(detector.parameters()), torch.amp.GradScaler(enabled=False)
    seconds, found = 0.0, list[int]()
    monkeypatch.setattr("time.monotonic", lambda: seconds)
    saver = StateSaver(path, detector, optimizer, scaler, Schedule(**settings))
    for step in range(1, 10):
        seconds += 20
        saver.step(Progress(step=step, sums={"loss": 0.1 * step}))
        if path.exists():
            assert load_state(path, detector, optimizer).sums == {"loss": 0.1 * step}
            found.append(step)
            path.unlink()
    return found


@pytest.mark.parametrize(
    ("steps", "minutes", "expected"),
    [
        (None, None, []),
        (3, None, [3, 6, 9]),
        (None, 1.0, [3, 6, 9]),
        (None, 1.4, [5]),
        (2, 1.0, [2, 4, 6, 8]),
        (4, 1.0, [3, 6, 9]),
    ],
)
def test_steps_and_minutes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    steps: int | None,
    minutes: float | None,
    expected: list[int],
) -> None:
    path = tmp_path / "state.safetensors"
    assert saved_at(path, monkeypatch, save_steps=steps, save_minutes=minutes) == expected


def test_a_state_is_saved_now_and_then_by_default(recipe: Recipe) -> None:
    assert recipe.schedule.save_minutes == 10
    assert recipe.schedule.save_steps is None
