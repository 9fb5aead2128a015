"""``sodkit split``: cuts large images into patches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sodkit.cli.options import (
    Angle,
    Area,
    BitDepth,
    Classes,
    Difficult,
    Format,
    Images,
    Json,
    Oriented,
    Overwrite,
    SkipBad,
)
from sodkit.tiling.settings import Ignore, ImageFormat, Profile, Truncated

if TYPE_CHECKING:
    from sodkit.data.opening import Source
    from sodkit.tiling.conservation import SplitReport
    from sodkit.tiling.root import SplitPlan


def split(
    ann: Annotated[
        Path,
        typer.Argument(
            metavar="ANN", help="Annotations, or the root folder of a data set: all its subsets."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for patches, annotations.json and split.json.")],
    images: Images = None,
    format_: Format = None,
    difficult: Difficult = None,
    area: Area = None,
    angle: Angle = None,
    oriented: Oriented = False,
    classes: Classes = None,
    profile: Annotated[
        Profile | None, typer.Option(help="A release's rules; other options change them.")
    ] = None,
    subset: Annotated[
        list[str] | None, typer.Option(help="Only this subset of a root folder; repeatable.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Side of a patch in px (800); 600,800: several scales.")
    ] = None,
    stride: Annotated[
        str | None,
        typer.Option(help="Px from patch to patch; the rest of the size overlaps (650)."),
    ] = None,
    min_visible: Annotated[
        float | None,
        typer.Option(help="Share 0..1 of its area that an object must show to be kept (.5)."),
    ] = None,
    truncated: Annotated[
        Truncated | None,
        typer.Option(help="Objects that show less: flag ignore, or drop (ignore)."),
    ] = None,
    ignore: Annotated[
        Ignore | None, typer.Option(help="Ignore regions: paint over, flag, or drop (flag).")
    ] = None,
    empty: Annotated[
        str | None,
        typer.Option(help="Patches without objects: keep, skip, or a share 0..1 (keep)."),
    ] = None,
    image_format: Annotated[ImageFormat | None, typer.Option(help="Of the patches (jpg).")] = None,
    quality: Annotated[int | None, typer.Option(help="Of JPEG, 1..100 (95).")] = None,
    bit_depth: BitDepth = None,
    workers: Annotated[int | None, typer.Option(help="Threads (one a core).")] = None,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Cut images into patches, and report which objects are whole, truncated, ignored or lost.

    Killed and started again with the same options it continues.

    Example: sodkit split train.json --images photos --out patches --profile soda-d --empty skip

    All subsets: sodkit split SODA-D --out patches --profile soda-d
    """
    from sodkit.cli.common import note
    from sodkit.data.formats import Reading
    from sodkit.data.opening import Source
    from sodkit.tiling.root import SplitPlan, settings_by_subset

    settings = settings_by_subset(
        profile, sizes=_numbers(size, "--size"), strides=_numbers(stride, "--stride"),
        min_visible=min_visible, truncated=truncated, ignore=ignore,
        empty=_empty(empty), format=image_format, quality=quality,
        bit_depth=bit_depth,
    )  # fmt: skip
    reading = Reading(difficult, area, angle, oriented)
    source = Source(ann, format_, images, None, reading, classes)
    plan = SplitPlan(settings, workers, overwrite, skip_bad, note)
    _run(source, out, plan, subset or [], as_json)


def _run(source: Source, out: Path, plan: SplitPlan, wanted: list[str], as_json: bool) -> None:
    """Split one source, or the subsets of a root folder, and print the reports."""
    from sodkit.cli.common import print_json, progress
    from sodkit.data.formats import find_subsets
    from sodkit.data.formats.recognise import is_plain
    from sodkit.tiling.root import choose, split_source, split_subsets

    plain = not wanted and is_plain(source.path)
    subsets = [] if plain else find_subsets(source.path)
    if not wanted and not subsets:
        with progress("splitting") as report_progress:
            report = split_source(source, out, plan, progress=report_progress)
        if as_json:
            print_json({"out": str(out), **report.as_dict()})
        else:
            _print_report(report, out)
        return
    reports: dict[str, Any] = {}
    with progress("splitting") as report_progress:
        chosen = choose(subsets, wanted)
        for item, report in split_subsets(source, chosen, out, plan, report_progress):
            reports[item.name] = report.as_dict()
            if not as_json:
                _print_report(report, out / item.name)
    if as_json:
        print_json({"out": str(out), "subsets": reports})


def _numbers(text: str | None, option: str) -> list[int]:
    """Return whole numbers given with commas between; none if the option is not given."""
    from sodkit.errors import UsageError

    try:
        return [] if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        what = f"{text!r} is no whole number, or several with commas"
        raise UsageError(what, where=option) from None


def _empty(text: str | None) -> str | float | None:
    """Return ``--empty`` as a word or a share; what is neither is refused by the settings."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _print_report(report: SplitReport, out: Path) -> None:
    from sodkit.cli.common import note
    from sodkit.cli.tables import print_table

    table = report.table()
    print_table(f"{out}: {table.title}", table.columns, table.rows)
    note(
        f"{report.annotations} annotations written, {report.truncated} of them truncated objects; "
        f"{report.regions} ignore regions: {report.settings.ignore}; "
        f"{report.skipped} empty patches skipped"
    )
    for bad in report.bad_images:
        note(f"left out: {bad.file_name}: {bad.reason} ({bad.objects} objects)")
    if report.total("lost"):
        first = ", ".join(str(number) for number in report.lost_ids)
        note(
            f"lost: {report.total('lost')} objects, ids {first}: the overlap is too small for them"
        )
