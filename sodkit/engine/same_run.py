"""Whether what is resumed is what was trained: recipe, classes and data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sodkit.data.records import Annotations
from sodkit.engine.metadata import DataInfo, RunInfo
from sodkit.errors import DataError, UsageError
from sodkit.settings import Recipe

MAY_CHANGE = (
    "name", "description", "schedule.epochs", "schedule.steps", "schedule.steps_in",
    "schedule.evaluate_every", "schedule.patience", "schedule.save_steps", "schedule.save_minutes",
    "schedule.keep_every", "schedule.accumulate", "model.backbone.weights",
)  # fmt: skip
"""Settings that a run may be resumed with other values of; the state replaces backbone weights."""

_ABSENT = "nothing"


def run_info(recipe: Recipe, data: Annotations, validation: Annotations | None) -> RunInfo:
    """Return what a state says of its run."""
    compared = None if validation is None else _data_info(validation)
    return RunInfo(recipe=recipe, data=_data_info(data), validation=compared)


def check_same_run(saved: RunInfo | None, now: RunInfo, run: Path) -> None:
    """Raise if a run would be resumed with another recipe or other data than it was saved of.

    Args:
        saved: what the state says; None: nothing, and nothing is compared.
        now: what is to be trained.
        run: the run's folder, for messages.

    Raises:
        UsageError: a setting differs that is not in ``MAY_CHANGE``.
        DataError: classes, images or annotations differ.
    """
    if saved is None:
        return
    old, new = flat_settings(saved.recipe), flat_settings(now.recipe)
    changed = [
        f"{key} is {new.get(key, _ABSENT)}, was {old.get(key, _ABSENT)}"
        for key in dict.fromkeys((*new, *old))
        if old.get(key, _ABSENT) != new.get(key, _ABSENT) and key not in MAY_CHANGE
    ]
    if changed:
        raise UsageError(
            f"the run has another recipe: {'; '.join(changed)}",
            where=run,
            hint=f"leave it as it was, or train another run with --out; these may change: "
            f"{', '.join(MAY_CHANGE)}",
        )
    for what, before, after in (
        ("trained on", saved.data, now.data),
        ("validated on", saved.validation, now.validation),
    ):
        if before != after:
            raise DataError(
                f"the run was {what} other data: {'; '.join(_differences(before, after))}",
                where=run,
                hint="give the data as they were, or train another run with --out",
            )


def flat_settings(recipe: Recipe) -> dict[str, str]:
    """Return the values of a recipe, as JSON, by their dotted names."""
    return dict(_flat(recipe.model_dump(mode="json"), ""))


def _flat(values: dict[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value)


def _data_info(data: Annotations) -> DataInfo:
    """Return counts and digests of all that training and evaluation use of annotations."""
    boxes = data.xywh if data.obb is None else np.hstack([data.xywh, data.obb])
    flags = np.zeros(0, np.uint8) if data.flags is None else data.flags
    images = [f"{i.id}\0{i.file_name}\0{i.width}\0{i.height}\0" for i in data.images]
    return DataInfo(
        classes=tuple((c.id, c.name) for c in data.categories),
        images=len(data.images),
        annotations=len(data),
        ignored=int(data.ignore.sum()),
        digests={
            "names, sizes or order of the images": _digest("".join(images).encode()),
            "boxes": _digest(boxes.astype("<f8"), data.area.astype("<f8")),
            "labels": _digest(data.labels.astype("<i8"), data.image_index.astype("<i8")),
            "ignore flags": _digest(data.ignore.astype("u1"), flags),
        },
    )


def _digest(*columns: bytes | np.ndarray[Any, Any]) -> str:
    """Return the sha256 of bytes and arrays."""
    found = hashlib.sha256()
    for column in columns:
        found.update(column if isinstance(column, bytes) else np.ascontiguousarray(column).data)
    return found.hexdigest()


def _differences(before: DataInfo | None, after: DataInfo | None) -> list[str]:
    """Return what differs between two data sets, with both values where they are short."""
    if before is None or after is None:
        return ["there is none now" if after is None else "there was none before"]
    old, new = ([name for _, name in info.classes] for info in (before, after))
    if before.classes != after.classes:
        if old == new:
            old, new = ([str(number) for number, _ in i.classes] for i in (before, after))
            return [f"the ids of the classes are {', '.join(new)}, were {', '.join(old)}"]
        return [f"the classes are {', '.join(new)}, were {', '.join(old)}"]
    counts = [
        f"{name} {getattr(after, name)}, were {getattr(before, name)}"
        for name in ("images", "annotations", "ignored")
        if getattr(after, name) != getattr(before, name)
    ]
    other = [name for name, digest in after.digests.items() if before.digests.get(name) != digest]
    return counts or [f"other {' and '.join(other)}, as many as before"]
