"""``sodkit train --replay``: the step whose loss was not finite, run again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from sodkit.errors import UsageError

if TYPE_CHECKING:
    from sodkit.engine.bad_batch import Replay

SHOWN = 5
"""Names that a line lists."""


def show_replay(path: Path, device: str, *, as_json: bool) -> None:
    """Run a step again and print its losses, then and now, and where the first bad value is.

    Args:
        path: a run's folder, or the file of the batch that it kept.
        device: as ``pick_device`` takes it.
        as_json: print JSON.
    """
    from sodkit.cli.common import print_json
    from sodkit.cli.tables import print_table
    from sodkit.engine.bad_batch import NAME, replay
    from sodkit.engine.device import pick_device

    file = path / NAME if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise UsageError(
            f"holds no {NAME}: all losses of the run were finite, or it is no run", where=path
        )
    found = replay(file, pick_device(device))
    if as_json:
        print_json(_as_dict(found))
        return
    names = {**found.before, **found.now}
    rows = [(n, _number(found.before.get(n)), _number(found.now.get(n))) for n in names]
    ids = ", ".join(map(str, found.image_ids))
    print_table(f"step {found.step}, images {ids}", ("loss", "in the run", "now"), rows)
    for sentence in sentences(found):
        print(sentence)


def sentences(found: Replay) -> list[str]:
    """Return where the values are not finite, in sentences."""
    from sodkit.data.naming import listed

    lines = []
    if found.weights:
        lines.append(
            f"not finite before the step already, so made by an earlier one: "
            f"{listed(found.weights, SHOWN)}"
        )
    if found.module is not None:
        lines.append(f"the first output that is not finite is that of {found.module}")
    bad = [name for name, value in found.now.items() if not math.isfinite(value)]
    if bad and found.module is None:
        lines.append("all outputs of modules are finite: it is the loss itself that is not")
    if found.gradients:
        lines.append(
            f"the losses are finite now, but not the gradients of {listed(found.gradients, SHOWN)}"
        )
    elif not bad:
        lines.append("the losses and all gradients are finite now, on this device")
    return lines


def _as_dict(found: Replay) -> dict[str, object]:
    return {
        "step": found.step,
        "image_ids": list(found.image_ids),
        "losses_in_the_run": {name: _finite(value) for name, value in found.before.items()},
        "losses_now": {name: _finite(value) for name, value in found.now.items()},
        "weights_not_finite": list(found.weights),
        "first_module_not_finite": found.module,
        "gradients_not_finite": list(found.gradients),
    }


def _finite(value: float) -> float | None:
    """Return a number as JSON can hold it."""
    return value if math.isfinite(value) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
