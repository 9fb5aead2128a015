"""Splitting all subsets of a data set's root folder, SODA's as downloaded or one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sodkit.data.checking.oddities import oddities
from sodkit.data.formats import Subset
from sodkit.data.formats.source import MissingImageError
from sodkit.data.formats.subsets import pick
from sodkit.data.left_out import LEFT_OUT, LeftOut
from sodkit.data.opening import Source, open_source
from sodkit.errors import DataError
from sodkit.files import StrPath
from sodkit.lock import lock_folder
from sodkit.tiling.conservation import SplitReport
from sodkit.tiling.settings import Profile, SplitSettings, split_settings
from sodkit.tiling.split_dataset import Progress, split_dataset


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How to split; ``None`` stands for what is found out or the default.

    Attributes:
        settings: the rules, by the subset's name ("" of a single source).
        workers: threads.
        overwrite: replace an earlier split of other settings.
        skip_bad: leave out images that are missing or cannot be read.
        say: called with a sentence about annotations that look wrong and are split all the same.
    """

    settings: Callable[[str], SplitSettings]
    workers: int | None = None
    overwrite: bool = False
    skip_bad: bool = False
    say: Callable[[str], None] = lambda message: None


def settings_by_subset(
    profile: Profile | None = None, **changes: Any
) -> Callable[[str], SplitSettings]:
    """Return the settings for each subset's name; arguments as ``split_settings``.

    The SODA-D release leaves out the empty patches of the subset that is trained on, and only of
    that; ``empty`` decides where it is given.
    """
    settings = split_settings(profile, **changes)
    if profile != "soda-d" or changes.get("empty") is not None:
        return lambda name: settings
    return lambda name: replace(settings, empty="skip") if name == "train" else settings


def choose(found: Sequence[Subset], wanted: Sequence[str]) -> list[Subset]:
    """Return the subsets that are wanted, all if none is named.

    Raises:
        UsageError: if one that is wanted is not there.
    """
    chosen = [pick(found, name) for name in wanted]
    return [item for item in found if not wanted or item in chosen]


def split_source(
    source: Source,
    out_dir: StrPath,
    plan: SplitPlan,
    name: str = "",
    progress: Progress | None = None,
) -> SplitReport:
    """Read annotations, find their images and split them.

    Raises:
        DataError, UsageError, SodkitError: as ``read_annotations`` and ``split_dataset``.
    """
    out_dir = Path(out_dir)
    left = LeftOut(bad=plan.skip_bad)
    own = open_source(source, left, plan.say, all_images=True)
    for sentence in oddities(own):
        plan.say(f"{source.path}: {sentence}")
    folder = source.folder(own)
    left.errors = [error for error in left.errors if not isinstance(error, MissingImageError)]
    for sentence in left.sentences():
        plan.say(sentence)
    report = split_dataset(
        own, folder, out_dir, plan.settings(name),
        workers=plan.workers, overwrite=plan.overwrite, skip_bad=plan.skip_bad, progress=progress,
    )  # fmt: skip
    left.errors += [
        DataError(bad.reason, where=folder / bad.file_name) for bad in report.bad_images
    ]
    left.write(out_dir / LEFT_OUT)
    return report


def split_subsets(
    source: Source,
    subsets: Sequence[Subset],
    out_dir: StrPath,
    plan: SplitPlan,
    progress: Progress | None = None,
) -> Iterator[tuple[Subset, SplitReport]]:
    """Split each subset into a folder of its name, yielding its report as it is done.

    Raises:
        DataError, UsageError, SodkitError: as ``split_source``; subsets done by then stay.
    """
    out_dir = Path(out_dir)
    with lock_folder(out_dir):
        for subset in subsets:
            path, name = subset.root or subset.path, None if subset.root is None else subset.name
            own = replace(source, path=path, subset=name)
            report = split_source(own, out_dir / subset.name, plan, subset.name, progress)
            yield subset, report
