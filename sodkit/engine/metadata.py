"""What the files of a run say about themselves: JSON, every key checked when it is read.

A checkpoint and a training state hold one key of metadata, ``sodkit``, with one JSON text:
safetensors keeps several keys in an order that changes from call to call, and equal content is to
give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from sodkit._version import __version__
from sodkit.errors import ModelError
from sodkit.settings import Recipe
from sodkit.settings.base import Settings

KEY = "sodkit"
FORMAT: Final = 2
"""Of the metadata; another number is refused."""

KINDS = {
    "checkpoint": "a sodkit checkpoint",
    "state": "a training state of sodkit",
    "batch": "a bad batch that sodkit has kept",
}
IMPORT = "weights of other projects come in by: sodkit import-weights FILE --out CKPT"

_SHOWN = 60
"""Characters of a wrong value that a message shows."""

Model = TypeVar("Model", bound=Settings)
Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Name = Annotated[str, Field(min_length=1)]
Natural = Annotated[int, Field(ge=0)]


class Progress(Settings):
    """How far a run has come.

    Attributes:
        epoch: epochs done.
        step: steps done of the epoch after those.
        sums: of these steps' losses, each divided by the number of steps of an epoch.
        seconds: that these steps took.
        scale: the loss scale (float16).
        growth: steps since the loss scale last changed.
        best: the best value of ``schedule.metric`` so far.
        stale: validations since then.
        unvalidated: the last epoch's learning rate, mean losses and seconds if it is not yet
            validated and logged, else None.
    """

    epoch: Natural = 0
    step: Natural = 0
    sums: dict[str, FiniteFloat] = Field(default_factory=dict)
    seconds: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    scale: Annotated[FiniteFloat, Field(gt=0)] = 65536.0
    growth: Natural = 0
    best: FiniteFloat | None = None
    stale: Natural = 0
    unvalidated: dict[str, FiniteFloat] | None = None


class Info(Settings):
    """What the files of a run have in common."""

    format: Literal[2] = FORMAT
    version: str = __version__


class CheckpointInfo(Info):
    """The metadata of a checkpoint; classes as (id, name), in the order of the labels."""

    kind: Literal["checkpoint"] = "checkpoint"
    recipe: Recipe
    categories: Annotated[tuple[tuple[Id, Name], ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        for column in zip(*self.categories, strict=True):
            twice = [value for value in column if column.count(value) > 1]
            if twice:
                raise ValueError(f"categories: {twice[0]!r} occurs twice")
        return self


class DataInfo(Settings):
    """What distinguishes one data set from another.

    Attributes:
        classes: as (id, name), in the order of the labels.
        images: their number.
        annotations: their number, ignored ones included.
        ignored: how many are ignored.
        digests: sha256 of the columns, by what they hold.
    """

    classes: tuple[tuple[Id, str], ...]
    images: Natural
    annotations: Natural
    ignored: Natural
    digests: dict[str, str]


class RunInfo(Settings):
    """What a run trains, on which data, and on which it is validated."""

    recipe: Recipe
    data: DataInfo
    validation: DataInfo | None


class StateInfo(Info):
    """The metadata of a training state; ``run`` is None if it was saved by itself."""

    kind: Literal["state"] = "state"
    optimizer: str
    progress: Progress
    run: RunInfo | None = None


class BatchInfo(Info):
    """The metadata of a batch whose loss was not finite.

    Attributes:
        recipe: of its run.
        categories: as (id, name), in the order of the labels.
        step: number of the step in the run, from 0 on.
        place: of the batch's first image among those of the step.
        losses: by name, as text: they are not finite.
        image_ids, sizes, scales, plain: of the images, see ``Batch``.
    """

    kind: Literal["batch"] = "batch"
    recipe: Recipe
    categories: Annotated[tuple[tuple[Id, Name], ...], Field(min_length=1)]
    step: Natural
    place: Natural
    losses: dict[str, str]
    image_ids: tuple[Id, ...]
    sizes: tuple[tuple[Natural, Natural], ...]
    scales: tuple[tuple[FiniteFloat, FiniteFloat], ...]
    plain: bool = False


def parse(model: type[Model], text: str | bytes) -> Model:
    """Read JSON as ``model``; ValueError names the first wrong key, what was found and expected."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first, *rest = error.errors(include_url=False)
        more = f" (and {len(rest)} more)" if rest else ""
        key = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in first["loc"])
        place = f"{key.removeprefix('.')}: " if key else ""
        found = json.dumps(first["input"], default=repr)
        found = found if len(found) <= _SHOWN else f"{found[:_SHOWN]}..."
        what = {
            "missing": "is missing",
            "extra_forbidden": f"unknown key (found {found})",
            "json_invalid": first["msg"],
            "value_error": first["msg"].removeprefix("Value error, "),
        }.get(
            first["type"], f"{first['msg'].replace('Input should be', 'expected')}, found {found}"
        )
        raise ValueError(f"{place}{what}{more}") from error


def read_info(model: type[Model], metadata: Mapping[str, str], path: Path) -> Model:
    """Read the metadata of a file of ours.

    Args:
        model: what the file should be, ``CheckpointInfo`` or ``StateInfo``.
        metadata: of the safetensors file.
        path: the file, for messages.

    Raises:
        ModelError: another program's file, a file of another format or kind, or a key that is
            missing, unknown or of the wrong type: the message names it.
    """
    head = _head(metadata)
    kind = str(model.model_fields["kind"].default)
    if head is None:
        hint = IMPORT if kind == "checkpoint" else None
        raise ModelError(f"not {KINDS[kind]}: no metadata of sodkit inside", where=path, hint=hint)
    version = head.get("version")
    if head.get("format") != FORMAT:
        raise ModelError(
            f"written by sodkit {version} in format {head.get('format')!r}; sodkit {__version__} "
            f"reads format {FORMAT}",
            where=path,
            hint="use the version that wrote it, or train or import the weights again",
        )
    for other in KINDS:
        if head.get("kind") == other != kind:
            hint = "checkpoints of a run are last.safetensors and best.safetensors"
            raise ModelError(f"is {KINDS[other]}, not {KINDS[kind]}", where=path, hint=hint)
    try:
        return parse(model, metadata[KEY])
    except ValueError as error:
        raise ModelError(
            f"its metadata cannot be read (written by sodkit {version}): {error}", where=path
        ) from error


def _head(metadata: Mapping[str, str]) -> dict[str, object] | None:
    """Return the metadata as they are, None if they are not ours."""
    try:
        head = json.loads(metadata.get(KEY, ""))
    except (ValueError, RecursionError):
        head = None
    if isinstance(head, dict):
        return head
    if {"recipe", "progress"} & set(metadata):  # format 0: a key each for version, recipe, classes
        return {"format": 0, "version": metadata.get(KEY)}
    return None
