"""Arguments and options of ``sodkit predict`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Inputs = Annotated[
    list[Path],
    typer.Argument(
        help="Images, folders, videos, patterns; - for a list on standard input; or one ANN."
    ),
]
Out = Annotated[Path, typer.Option(help="Predictions: .json, .npz, or .zip (DOTA Task 1).")]
ImageFolder = Annotated[
    Path | None, typer.Option("--images", help="Where an ANN's file_name starts.")
]
Size = Annotated[int | None, typer.Option(min=1, help="Window side (default: recipe's).")]
Stride = Annotated[int | None, typer.Option(min=1, help="Stride (default: recipe's).")]
NoSplit = Annotated[bool, typer.Option("--no-split", help="Whole images at once.")]
Score = Annotated[
    float | None, typer.Option(min=0, max=1, help="Least score (0.05; of proposals 0).")
]
Nms = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="NMS IoU inside a patch (recipe's: 0.5, oriented 0.1)."),
]
MergeNms = Annotated[
    float | None, typer.Option(min=0, max=1, help="Overlap across patches (recipe's: IoU 0.5).")
]
Merge = Annotated[
    Literal["nms", "wbf", "nmm", "border"] | None,
    typer.Option(help="How patches are merged, see docs/merging.md (recipe's: nms)."),
]
MaxPerPatch = Annotated[
    int | None, typer.Option(min=1, help="Most detections a patch (recipe's: 100, oriented 2000).")
]
Proposals = Annotated[
    int | None, typer.Option(min=1, help="Class-agnostic proposals a patch instead.")
]
Recursive = Annotated[
    bool, typer.Option("--recursive", help="Take the images in subfolders of folders, too.")
]
BatchSize = Annotated[int | None, typer.Option("--batch", min=1, help="Windows a batch.")]
GeoJson = Annotated[
    Path | None,
    typer.Option("--geojson", help="Polygons on earth, too: .geojson, or .gpkg (GeoPackage)."),
]
Crs = Annotated[
    Literal["wgs84", "raster"],
    typer.Option(help="Coordinates of --geojson: longitude and latitude, or the raster's."),
]
Every = Annotated[
    int, typer.Option(min=1, metavar="N", help="Each N-th frame of videos, image of folders.")
]
Bands = Annotated[
    str | None,
    typer.Option(metavar="R,G,B", help="Bands that are red, green, blue, or one (the first)."),
]
