"""``sodkit convert``: annotations from one format to another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sodkit.cli.options import (
    Angle,
    Ann,
    Area,
    Classes,
    Difficult,
    Format,
    Images,
    Json,
    Oriented,
    Overwrite,
    SkipBad,
    Subset,
)

if TYPE_CHECKING:
    from sodkit.data.opening import Source


def convert(
    ann: Ann,
    to: Annotated[
        Literal["coco", "soda-a", "dota", "yolo", "voc"],
        typer.Option(help="Format to write; yolo is YOLO-OBB if oriented."),
    ],
    out: Annotated[Path, typer.Option(help="File (coco) or folder (others) to write.")],
    images: Images = None,
    format_: Format = None,
    difficult: Difficult = None,
    area: Area = None,
    angle: Angle = None,
    oriented: Oriented = False,
    subset: Subset = None,
    classes: Classes = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out labels without an image.")
    ] = False,
    skip_bad: SkipBad = False,
    copy_images: Annotated[
        bool,
        typer.Option("--copy-images", help="yolo: copy the images instead of linking to them."),
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Convert annotations, and say what the target format cannot hold of them.

    Of a root folder or YAML each subset gets an output of its own: OUT/train, or OUT_train.json.

    Example: sodkit convert labelTxt --images images --to coco --out train.json
    """
    from sodkit.cli.common import print_json
    from sodkit.data.formats import Reading, find_subsets
    from sodkit.data.formats.recognise import is_plain
    from sodkit.data.opening import Source
    from sodkit.outputs import check_not_read

    check_not_read(out, ann)
    reading = Reading(difficult, area, angle, oriented)
    source = Source(ann, format_, images, subset, reading, classes)
    plan = _Plan(source, to, skip_bad, skip_missing, copy_images, overwrite, as_json)
    found = [] if subset is not None or is_plain(ann) else find_subsets(ann)
    if len(found) < 2:
        result = _convert(plan, out, subset or (found[0].name if found else None))
        if as_json:
            print_json(result)
        return
    results = {item.name: _convert(plan, _out_of(out, to, item.name), item.name) for item in found}
    if as_json:
        print_json({"out": str(out), "subsets": results})


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is the same for all subsets."""

    source: Source
    to: str
    skip_bad: bool
    skip_missing: bool
    copy_images: bool
    overwrite: bool
    as_json: bool


def _out_of(out: Path, to: str, subset: str) -> Path:
    """Return where a subset is written: a folder in ``out``, or a file named by the subset."""
    if to != "coco":
        return out / subset
    is_name = out.suffix == ".json"
    return out.with_name(f"{out.stem}_{subset}.json") if is_name else out / f"{subset}.json"


def _convert(plan: _Plan, out: Path, subset: str | None) -> dict[str, Any]:
    """Convert a source or one subset, and print what was written."""
    from sodkit.cli.common import note, progress
    from sodkit.cli.tables import print_table
    from sodkit.data.formats.conversion import convert as write
    from sodkit.data.left_out import LEFT_OUT, LeftOut
    from sodkit.data.opening import open_source

    left = LeftOut(bad=plan.skip_bad, missing=plan.skip_missing or plan.skip_bad)
    source = replace(plan.source, subset=subset)
    annotations = open_source(source, left, note)
    folder = source.folder(annotations)
    with progress("placing images") as report:
        lost = write(
            annotations, plan.to, out, images=folder, copy=plan.copy_images,
            overwrite=plan.overwrite, progress=report,
        )  # fmt: skip
    file = out / LEFT_OUT if out.is_dir() else out.with_suffix(f".{LEFT_OUT}")
    left.write(file)
    counts = {"images": len(annotations.images), "annotations": len(annotations)}
    if not plan.as_json:
        print_table("", ("written", "format", *counts), [(out, plan.to, *counts.values())])
        for sentence in left.sentences(file):
            note(sentence)
        for sentence in lost:
            note(f"{plan.to}: {sentence}")
    places = [str(error.where) for error in left.errors]
    return {"out": str(out), "format": plan.to, **counts, "left_out": places, "not_held": lost}
