"""``sodkit check``: everything wrong with a data set, and its profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sodkit.cli.options import (
    Angle,
    Ann,
    Area,
    BitDepth,
    Difficult,
    Format,
    Images,
    Json,
    Oriented,
    Subset,
)

if TYPE_CHECKING:
    from sodkit.data.checking.check_profile import Profile
    from sodkit.data.checking.dataset_check import CheckReport

BAD_DATA = 3
_BAR = 40


def check(
    ann: Ann,
    images: Images = None,
    format_: Format = None,
    difficult: Difficult = None,
    area: Area = None,
    angle: Angle = None,
    oriented: Oriented = False,
    subset: Subset = None,
    bit_depth: BitDepth = None,
    classes: Annotated[
        str | None,
        typer.Option(help="The right class names: a text file, one a line, or a,b,c."),
    ] = None,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Check annotations only; decode no image.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Findings of a kind in the table.")] = 10,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads (one a core).")] = None,
    as_json: Json = False,
) -> None:
    """List everything wrong with a data set, then its profile. Exit code 3 if there are errors.

    Example: sodkit check train.json --images photos
    """
    from sodkit.cli.common import print_json, progress
    from sodkit.data.checking.dataset_check import check_dataset
    from sodkit.data.formats import Reading
    from sodkit.data.formats.class_lists import classes_named

    names = None if classes is None else classes_named(classes)
    with progress("checking") as report_progress:
        report = check_dataset(
            ann, images=images, format=format_, classes=names,
            reading=Reading(difficult, area, angle, oriented, names or ()),
            look_at_images=not no_images, workers=workers, progress=report_progress,
            subset=subset, bit_depth=bit_depth,
        )  # fmt: skip
    if as_json:
        print_json(report.as_dict())
    else:
        _print_findings(report, ann, limit)
        for name, part in (report.subsets or {"": report}).items():
            if part.profile is not None:
                _print_profile(part.profile, name)
    if report.count("error"):
        raise typer.Exit(BAD_DATA)


def _print_findings(report: CheckReport, ann: Path, limit: int) -> None:
    from collections import Counter

    from sodkit.cli.common import note
    from sodkit.cli.tables import print_table

    shown: Counter[tuple[str, str]] = Counter()
    rows = []
    for item in sorted(report.findings, key=lambda item: (item.severity, item.kind)):
        shown[item.severity, item.kind] += 1
        if shown[item.severity, item.kind] <= limit:
            hint = "" if item.hint is None else f" ({item.hint})"
            rows.append((item.severity, item.kind, f"{item.where}: {item.what}{hint}"))
    counts = (
        f"{n} {s}{'' if n == 1 else 's'}" for s in ("error", "warning") for n in [report.count(s)]
    )
    summary = f"{ann}: {', '.join(counts)}"
    if rows:
        print_table(summary, ("", "kind", "where and what"), rows, texts=range(3))
    else:
        print(summary)
    for (severity, kind), count in shown.items():
        if count > limit:
            note(f"{severity} {kind}: {count - limit} more, --limit or --json shows them")


def _print_profile(profile: Profile, subset: str = "") -> None:
    from sodkit.cli.tables import print_table
    from sodkit.data.checking.check_profile import BINS
    from sodkit.data.sizes import SIZE_NAMES

    title = (
        f"{subset + ': ' if subset else ''}{int(profile.counts.sum())} objects "
        f"({profile.kind}; {profile.ignored} ignored) and "
        f"{profile.regions} ignore regions on {profile.images} images, "
        f"{profile.empty} of them without object, at most {profile.most} on one"
    )
    rows: list[tuple[object, ...]] = [
        (name, *counts.tolist(), int(counts.sum()))
        for name, counts in zip(profile.classes, profile.counts, strict=True)
    ]
    rows.append(("all", *profile.counts.sum(axis=0).tolist(), int(profile.counts.sum())))
    print(title)
    print_table("", ("objects", *SIZE_NAMES, "all"), rows)
    most = max(1, int(profile.histogram.max(initial=0)))
    lines = []
    for low, high, count in zip(BINS, (*BINS[1:], ""), profile.histogram.tolist(), strict=True):
        lines.append((f"{low} - {high}", count, f"{'#' * (_BAR * count // most)}"))
    print_table(
        "absolute size: square root of the area, px", ("px", "objects", ""), lines, texts=(0, 2)
    )
