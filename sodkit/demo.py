"""The demo: every stage of the pipeline in a row, on synthetic scenes, by the Python API.

Read ``run_demo`` as a tour of the API: make data, split, train, predict, evaluate, look.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo is to do; see ``sodkit demo --help``."""

    out: Path
    recipe: str = "cfinet-r18-demo"
    overrides: tuple[str, ...] = ()
    seed: int = 0
    train_images: int = 8
    test_images: int = 3
    device: str = "auto"
