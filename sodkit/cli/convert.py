"""``sodkit convert``: annotations from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sodkit.cli.options import (
    Angle,
    Ann,
    Area,
    Difficult,
    Format,
    Images,
    Json,
    Oriented,
    Overwrite,
    SkipBad,
)


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

    Example: sodkit convert labelTxt --images images --to coco --out train.json
    """
    from sodkit.cli.common import note, note_reading, print_json, print_table, progress
    from sodkit.data.formats import Reading, find_images, read_annotations
    from sodkit.data.formats.conversion import convert as write
    from sodkit.data.left_out import LEFT_OUT, LeftOut
    from sodkit.outputs import check_not_read

    check_not_read(out, ann)
    left = LeftOut(bad=skip_bad, missing=skip_missing or skip_bad)
    reading = Reading(difficult, area, angle, oriented)
    annotations = read_annotations(
        ann, format=format_, images=images, report=left.report, reading=reading
    )
    note_reading(annotations, ann)
    annotations = left.without_missing(annotations)
    folder = images or find_images(ann, annotations)
    with progress("placing images") as report:
        lost = write(
            annotations, to, out, images=folder, copy=copy_images, overwrite=overwrite,
            progress=report,
        )  # fmt: skip
    file = out / LEFT_OUT if out.is_dir() else out.with_suffix(f".{LEFT_OUT}")
    left.write(file)
    counts = {"images": len(annotations.images), "annotations": len(annotations)}
    if as_json:
        places = [str(error.where) for error in left.errors]
        print_json({"out": str(out), "format": to, **counts, "left_out": places, "not_held": lost})
        return
    print_table("", ("written", "format", *counts), [(out, to, *counts.values())])
    for sentence in left.sentences(file):
        note(sentence)
    for sentence in lost:
        note(f"{to}: {sentence}")
