"""Arguments and options that mean the same in several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Ann = Annotated[Path, typer.Argument(metavar="ANN", help="Annotations: a file or folder.")]
CheckpointPath = Annotated[
    Path, typer.Argument(help="A checkpoint, or a run's folder: its best one, else the last.")
]
Images = Annotated[
    Path | None, typer.Option(help="Where the file names of ANN start (default: beside ANN).")
]
Format = Annotated[
    str | None, typer.Option("--format", help="Format of the annotations, if not recognised.")
]
BitDepth = Annotated[
    int | None,
    typer.Option(
        min=8, max=16, help="Bits in use of images of more than 8 (default: each its own range)."
    ),
]
Scores = Annotated[
    Path | None,
    typer.Option(help="Least score of each class: scores.json as eval --out writes it."),
]
Classes = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Only these classes: names with commas.")
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Leave out boxes without size or outside, and images that cannot be read; list them.",
    ),
]
Difficult = Annotated[
    Literal["ignore", "keep"] | None,
    typer.Option(
        help="Difficult objects: ignore them or not (default: as the data set's version)."
    ),
]
Area = Annotated[
    Literal["stated", "box"] | None,
    typer.Option(help="Area that counts (default: the stated one, if it can be the box's)."),
]
Angle = Annotated[
    Literal["radians", "degrees", "degrees-ccw"] | None,
    typer.Option(help="Stated angles of ANN: clockwise, or counter-clockwise (default: radians)."),
]
PredictionsAngle = Annotated[
    Literal["radians", "degrees", "degrees-ccw"] | None,
    typer.Option(
        help="Angles of the predictions' boxes: clockwise, or counter-clockwise (radians)."
    ),
]
CategoryIds = Annotated[
    Literal["data", "from-0", "from-1", "coco-91"] | None,
    typer.Option(
        help="Numbers of classes in predictions: the data's ids, or positions in its list (data)."
    ),
]
Oriented = Annotated[
    bool, typer.Option("--oriented", help="Read COCO's four-corner segmentations as oriented.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a value of the recipe; repeatable."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or gpu, cuda:1 or 1, ...")]
Subset = Annotated[
    str | None, typer.Option("--subset", help="Of a root folder or YAML: train, val, test ...")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace what this command wrote to OUT before.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
