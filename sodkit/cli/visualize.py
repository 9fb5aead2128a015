"""``sodkit visualize``: draws ground truth and predictions on images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sodkit.cli.options import (
    Angle,
    Ann,
    Area,
    BitDepth,
    CategoryIds,
    Classes,
    Difficult,
    Format,
    Images,
    Json,
    Oriented,
    Overwrite,
    PredictionsAngle,
    SkipBad,
    Subset,
)


def visualize(
    ann: Ann,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    images: Images = None,
    predictions: Annotated[Path | None, typer.Option(help="Predictions to draw, too.")] = None,
    score: Annotated[float, typer.Option(min=0, max=1, help="Least score drawn.")] = 0.3,
    ignore: Annotated[
        Literal["mask", "outline", "hide"],
        typer.Option(help="What is ignored: masked, outlined or hidden."),
    ] = "mask",
    zoom: Annotated[int, typer.Option(min=0, help="Zoom-ins of so many smallest objects.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first images.")] = None,
    format_: Format = None,
    difficult: Difficult = None,
    area: Area = None,
    angle: Angle = None,
    predictions_angle: PredictionsAngle = None,
    category_ids: CategoryIds = None,
    oriented: Oriented = False,
    bit_depth: BitDepth = None,
    skip_bad: SkipBad = False,
    subset: Subset = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw boxes coloured by class, ignored parts masked, as in the paper's Figure 5.

    With predictions, these are closed boxes, and ground truth is the corners around them.

    Example: sodkit visualize test.json --images images --predictions pred.json --out pictures
    """
    from sodkit.cli.common import list_left_out, note, print_json, print_table, progress
    from sodkit.data.formats import Reading
    from sodkit.data.left_out import LeftOut
    from sodkit.data.opening import Source, of_one_subset, open_source
    from sodkit.data.restriction import chosen_labels, only_labels
    from sodkit.viz.dataset_pictures import visualize as draw

    left = LeftOut(bad=skip_bad, bit_depth=bit_depth)
    reading = Reading(difficult, area, angle, oriented)
    source = of_one_subset(Source(ann, format_, images, subset, reading, classes), note)
    annotations = open_source(source, left, note, all_classes=True)
    found = None
    if predictions is not None:
        from sodkit.data.predictions.columns import Stated
        from sodkit.data.predictions.storage import read_predicted

        found = read_predicted(
            predictions, annotations, drop_other_classes=classes is not None,
            stated=Stated(predictions_angle, category_ids), say=note,
        ).detections  # fmt: skip
    if classes is not None:
        count = len(annotations.categories)
        labels = chosen_labels(classes, annotations.categories, str(ann), note)
        found = None if found is None else only_labels(found, labels, count)
        annotations = only_labels(annotations, labels, count)
    folder = source.folder(annotations)
    annotations = left.readable(annotations, folder)
    with progress("drawing") as report:
        paths = draw(
            annotations, folder, out, detections=found, score=score, ignore=ignore,
            zoom=zoom, limit=limit, overwrite=overwrite, bit_depth=bit_depth, progress=report,
        )  # fmt: skip
    list_left_out(left, out)
    if as_json:
        print_json({"pictures": [str(path) for path in paths]})
    else:
        print_table("", ("folder", "pictures"), [(out, len(paths))])
