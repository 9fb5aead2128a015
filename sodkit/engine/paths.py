"""Where a run's data lie: ``run.json``, from which it is resumed."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sodkit.data.formats.reading import AS_STATED, Angle, Area, Difficult, Reading
from sodkit.data.opening import Source
from sodkit.engine.metadata import parse
from sodkit.engine.run_folder import RUN
from sodkit.errors import UsageError
from sodkit.files import StrPath, write_text
from sodkit.settings.base import Settings

Text = Annotated[str, Field(min_length=1, pattern="^[^\\x00]*$")]


@dataclass(frozen=True, slots=True)
class DataPaths:
    """Where a run's data lie.

    Attributes:
        data, images: annotations to train on and where their ``file_name`` starts.
        val, val_images: the same of the images to evaluate on, None: no evaluation.
        init: the checkpoint whose weights a run begins with; None: the recipe's.
        format_name: the annotations' format, None: recognised.
        skip_bad: leave out boxes without size and images that cannot be read.
        reading, classes: see ``data.opening.Source``.
    """

    data: StrPath
    images: StrPath | None = None
    val: StrPath | None = None
    val_images: StrPath | None = None
    format_name: str | None = None
    skip_bad: bool = False
    reading: Reading = AS_STATED
    classes: str | None = None
    init: StrPath | None = None

    def source(self, path: StrPath, images: StrPath | None) -> Source:
        """Return the data to train on, or to evaluate on, as a source."""
        folder = None if images is None else Path(images)
        return Source(Path(path), self.format_name, folder, None, self.reading, self.classes)


class _Paths(Settings):
    data: Text
    images: Text | None
    val: Text | None
    val_images: Text | None
    init: Text | None = None


class _Reading(Settings):
    difficult: Difficult | None = None
    area: Area | None = None
    angle: Angle | None = None
    oriented: bool = False
    classes: tuple[str, ...] = ()


class _RunFile(_Paths):
    """``run.json``: the paths as they were given, and where they led."""

    format_name: Text | None
    skip_bad: bool = False
    reading: _Reading = _Reading()
    classes: Text | None = None
    absolute: _Paths


def write_paths(run: Path, paths: DataPaths) -> None:
    """Write ``run.json`` into the folder of a run."""
    given = asdict(paths)
    for key in _Paths.model_fields:
        given[key] = None if given[key] is None else os.fspath(given[key])
    absolute = {
        key: None if given[key] is None else os.path.abspath(given[key])
        for key in _Paths.model_fields
    }
    content = _RunFile(**given, absolute=_Paths.model_validate(absolute))
    write_text(run / RUN, content.model_dump_json(indent=2) + "\n")


def read_paths(run: Path) -> DataPaths:
    """Read ``run.json``.

    Returns:
        the absolute paths, so that a run is resumed from any folder; the given one where nothing
        is at the absolute one any more and something is at the given one: run and data were moved.

    Raises:
        UsageError: missing or unreadable, or a value of the wrong type: the message names its key.
    """
    try:
        found = parse(_RunFile, (run / RUN).read_bytes())
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=run / RUN) from error
    except ValueError as error:
        raise UsageError(
            f"cannot be read: {error}",
            where=run / RUN,
            hint="correct it, or train anew with --data and --out",
        ) from error
    given, absolute = found.model_dump(), found.absolute.model_dump()
    there = {
        key: given[key] if _only_first_exists(given[key], absolute[key]) else absolute[key]
        for key in absolute
    }
    return DataPaths(
        **there, format_name=found.format_name, skip_bad=found.skip_bad,
        reading=Reading(**found.reading.model_dump()), classes=found.classes,
    )  # fmt: skip


def _only_first_exists(first: str | None, second: str | None) -> bool:
    return bool(first and os.path.exists(first) and not (second and os.path.exists(second)))
