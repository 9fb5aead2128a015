"""``sodkit convert``: annotations from one format to another."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """Formats that can be written."""

    coco = "coco"
    soda_a = "soda-a"
    dota = "dota"
    yolo = "yolo"
    voc = "voc"


def convert(
    ann: Annotated[Path, typer.Argument(metavar="ANN", help="Annotations: a file or folder.")],
    to: Annotated[Format, typer.Option(help="Format to write; yolo is YOLO-OBB if oriented.")],
    out: Annotated[Path, typer.Option(help="File (coco) or folder (others) to write.")],
    images: Annotated[
        Path | None,
        typer.Option(help="Where file_name starts (default: beside ANN)."),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="ANN's format, if not recognised.")
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out labels without an image.")
    ] = False,
    copy_images: Annotated[
        bool,
        typer.Option("--copy-images", help="yolo: copy the images instead of linking to them."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier convert wrote to OUT.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Convert annotations, and say what the target format cannot hold of them.

    Example: sodkit convert labelTxt --images images --to coco --out train.json
    """
    from sodkit.cli.common import note, print_json, print_table
    from sodkit.data.formats import find_images, read_annotations
    from sodkit.data.formats.conversion import convert as write
    from sodkit.data.formats.missing_images import MissingImages
    from sodkit.outputs import check_not_read

    check_not_read(out, ann)
    missing = MissingImages(leave_out=skip_missing)
    annotations = read_annotations(ann, format=format_, images=images, report=missing)
    annotations = missing.without(annotations)
    folder = images or find_images(ann, annotations)
    lost = write(annotations, to.value, out, images=folder, copy=copy_images, overwrite=overwrite)
    if as_json:
        print_json(
            {
                "out": str(out),
                "format": to.value,
                "images": len(annotations.images),
                "annotations": len(annotations),
                "left_out": [str(error.where) for error in missing.errors],
                "not_held": lost,
            }
        )
        return
    print_table(
        "",
        ("written", "format", "images", "annotations"),
        [(out, to.value, len(annotations.images), len(annotations))],
    )
    for error in missing.errors:
        note(f"left out: {error.where}: {error.what}")
    for sentence in lost:
        note(f"{to.value}: {sentence}")
